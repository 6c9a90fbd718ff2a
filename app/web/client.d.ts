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

/**
 * What `create` and `estimate` take. A Blob may stand as a field of the input that takes an address, or Blobs alone make up a
 * list of them; it then goes as a form. Anywhere deeper the id of an upload stands for it.
 */
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
  data: { job_id: string; status: Status; state: string; [fact: string]: unknown };
  /** Who caused it; null for what the service does by itself. */
  by?: { key_id: string | null; token_id: string | null; subject: string | null; on_host: boolean } | null;
}

export interface StoredFile {
  id: string;
  object: "file";
  content_type: string;
  size_bytes: number;
  width: number | null;
  height: number | null;
  sha256: string;
  created_at: string;
  expires_at: string;
  scaled_from: { width: number; height: number } | null;
}

export interface Estimate {
  valid: boolean;
  cost: {
    estimated_usd: number | null;
    basis: "price_list" | "unknown";
    reserved_usd: number;
    assumption: string | null;
  };
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
  status?: Status;
  state?: string;
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
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
}

export interface Options {
  /** Where the service is; by default the origin that this module was loaded from. */
  baseUrl?: string | URL;
  /**
   * A client token (or, in a back end, a key), or a function that returns one. What a function promises is kept until the
   * service answers 401: then it is asked again, with `{ refused: true }`, once for all that wait, and each request is sent
   * once more. A function that returns text at once is asked for every request. What it throws, the call throws.
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
  upload(file: Blob, call?: Call & { idempotencyKey?: string }): Promise<StoredFile>;
  /**
   * Make one job, however often the connection breaks: every try carries the same idempotency key. Name one of your own to
   * make the same job from another call or another visit.
   */
  create(order: Order, call?: Call & { idempotencyKey?: string }): Promise<Job>;
  estimate(order: Order, call?: Call): Promise<Estimate>;
  get(jobId: string, call?: Call): Promise<Job>;
  /** One page. */
  list(filters?: Filters, call?: Call): Promise<Page<Job>>;
  /** All pages, one job after the other. */
  listAll(filters?: Filters, call?: Call): AsyncGenerator<Job, void>;
  /**
   * The job now, and again whenever it has changed, until it is finished. Live events are used where they pass, long polls
   * where they don't; broken connections are taken up again, without end. Throws where the job can't be read: 401, 403, 404.
   */
  watch(job: string | Job, call?: Call): AsyncGenerator<Job, void>;
  /** The finished job. */
  finished(job: string | Job, call?: Call & { onUpdate?: (job: Job) => void }): Promise<Job>;
  /** What happens in all jobs from now on (or after an event), each event once. It never ends by itself. */
  events(call?: Call & { after?: string }): AsyncGenerator<Event, void>;
  /** The stored events of one job. */
  timeline(jobId: string, call?: Call): Promise<Event[]>;
  cancel(jobId: string, call?: Call): Promise<Job>;
  retry(jobId: string, call?: Call & { acceptNewCharge?: boolean; idempotencyKey?: string }): Promise<Job>;
  delete(jobId: string, call?: Call): Promise<void>;
  models(call?: Call): Promise<{ object: "list"; data: Record<string, unknown>[] }>;
  model(id: string, call?: Call): Promise<Record<string, unknown>>;
  /** The address that saves the finished job's video (or poster) as a file. Signed, it expires: take it when it is needed. */
  downloadUrl(job: string | Job, call?: Call & { variant?: "video" | "poster" }): Promise<string>;
  /**
   * Any other route: JSON or a FormData goes, JSON comes; null for an answer without a body. Throws ReelayError. A GET is
   * tried again, five times in all, where the error is `retryable`; nothing else is.
   */
  request<T = unknown>(
    method: string,
    path: string,
    call?: Call & { query?: Record<string, unknown>; body?: unknown; headers?: Record<string, string> },
  ): Promise<T>;
}
