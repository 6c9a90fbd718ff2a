// Types of /client.js, Reelay's client for web pages and for Node 20 or newer.

export type Status = "queued" | "in_progress" | "succeeded" | "failed" | "canceled";

export interface Video {
  url: string;
  poster_url: string | null;
  content_type: string;
  size_bytes: number;
  sha256: string;
  duration_seconds: number | null;
  width: number | null;
  height: number | null;
  fps: number | null;
}

export interface Job {
  id: string;
  object: "job";
  status: Status;
  state: string;
  model: string;
  input: Record<string, unknown>;
  metadata: Record<string, string>;
  subject: string | null;
  priority: "low" | "normal" | "high";
  progress: number;
  queue: { position: number | null; reason: string | null };
  eta_seconds: number | null;
  overdue: boolean;
  attempts: number;
  created_at: string;
  started_at: string | null;
  cancel_requested_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
  events_url: string;
  retried_from: string | null;
  reused_from: string | null;
  video: Video | null;
  cost: {
    estimated_usd: number | null;
    charged_usd: number | null;
    basis: "reported" | "estimated" | null;
    reserved_usd: number;
    settled: boolean;
  };
  error: { code: string; message: string; billed: boolean } | null;
}

/** What `create` and `estimate` take. A Blob stands for a file wherever the input takes an address. */
export interface Order {
  model?: string;
  input: Record<string, unknown>;
  metadata?: Record<string, string>;
  max_cost_usd?: number;
  priority?: "low" | "normal" | "high";
  webhook_url?: string;
  on_unconfirmed?: "hold" | "resubmit";
  start_within_seconds?: number;
  reuse?: boolean;
}

export interface Event {
  id: string | null;
  object: "event";
  type: string;
  created_at: string;
  data: Record<string, unknown>;
}

export interface StoredFile {
  id: string;
  object: "file";
  [field: string]: unknown;
}

export interface Estimate {
  valid: boolean;
  cost: { estimated_usd: number | null; basis: string };
  eta_seconds: number | null;
  queue_depth: number;
}

export interface Page<T> {
  object: "list";
  data: T[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}

export interface Filters {
  status?: Status | Status[];
  state?: string | string[];
  model?: string;
  created_after?: string;
  created_before?: string;
  metadata?: Record<string, string>;
  limit?: number;
  after?: string;
  order?: "asc" | "desc";
}

/** A refusal, or no answer at all: then `status` is 0. The message is a sentence that says what to do. */
export class ReelayError extends Error {
  readonly status: number;
  readonly type: string | null;
  readonly code: string | null;
  /** The field at fault, dotted. */
  readonly param: string | null;
  readonly requestId: string | null;
  /** Seconds to wait before another try, where the service said so. */
  readonly retryAfter: number | null;
}

export interface Options {
  /** Where the service is; by default where this module was loaded from. */
  baseUrl?: string | URL;
  /**
   * A client token (or, in a back end, a key), or a function that returns one. The function is asked at the start, and again
   * with `{ refused: true }` after an answer 401; then the request is sent once more.
   */
  credential: string | ((asked: { refused: boolean }) => string | Promise<string>);
  fetch?: typeof globalThis.fetch;
}

export interface Call {
  signal?: AbortSignal;
}

export class Reelay {
  constructor(options: Options);

  /** Keep an image, a video or a sound; its id may stand in the input of jobs. */
  upload(file: Blob, call?: Call): Promise<StoredFile>;
  /** Make one job, however often the connection breaks: every try carries the same idempotency key. */
  create(order: Order, call?: Call & { idempotencyKey?: string }): Promise<Job>;
  estimate(order: Order, call?: Call): Promise<Estimate>;
  get(jobId: string, call?: Call): Promise<Job>;
  /** One page. */
  list(filters?: Filters, call?: Call): Promise<Page<Job>>;
  /** All pages, one job after the other. */
  listAll(filters?: Filters, call?: Call): AsyncGenerator<Job, void>;
  /**
   * The job now, and again whenever it has changed, until it is finished. Live events are used where they pass, long polls
   * where they don't; broken connections are taken up again. `since` is a job already at hand.
   */
  watch(job: string | Job, call?: Call): AsyncGenerator<Job, void>;
  /** The finished job. */
  finished(job: string | Job, call?: Call & { onUpdate?: (job: Job) => void }): Promise<Job>;
  /** What happens in all jobs from now on (or after an event), each event once. It never ends by itself. */
  events(call?: Call & { after?: string }): AsyncGenerator<Event, void>;
  /** The stored events of one job. */
  timeline(jobId: string, call?: Call): Promise<Event[]>;
  cancel(jobId: string, call?: Call): Promise<Job>;
  retry(jobId: string, call?: Call & { acceptNewCharge?: boolean }): Promise<Job>;
  delete(jobId: string, call?: Call): Promise<void>;
  models(call?: Call): Promise<Page<Record<string, unknown>>>;
  model(id: string, call?: Call): Promise<Record<string, unknown>>;
  /** The address that saves the finished job's video (or poster) as a file. It is signed and expires: take it when it is needed. */
  downloadUrl(job: string | Job, call?: Call & { variant?: "video" | "poster" }): Promise<string>;
  /**
   * Any other route: JSON goes and comes; null for an answer without a body. Throws ReelayError. GETs are tried again after a
   * broken connection, 429, 502, 503 and 504; nothing else is.
   */
  request<T = unknown>(
    method: string,
    path: string,
    call?: Call & { query?: Record<string, unknown>; body?: unknown; headers?: Record<string, string> },
  ): Promise<T>;
}
