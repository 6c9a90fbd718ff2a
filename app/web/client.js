// Reelay's client for web pages and for Node 20 or newer. It needs no other file: import it from your Reelay, or copy it.
// Types, and what each method does: client.d.ts, from the same place.

const ANSWER_MS = 30_000;
const FORM_MS = 300_000;
const FIRST_BYTES_MS = 8_000; // a live stream begins at once, unless something on the way gathers it
const SILENCE_MS = 40_000; // then it shows every 15 seconds that it lives
const POLLS_MS = 300_000; // how long polls are used before streams are tried again
const WAIT_SECONDS = 10;
const POLL_PAUSE_MS = 1_000;
const LIST_PAUSE_MS = 3_000;
const RETRY_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_RETRY_AFTER = 60;
const TRIES = 5;
const TEXT_EVENTS = "text/event-stream";
const ENDED = ["succeeded", "failed", "canceled"];
const TOLD_LIVE = ["progress", "eta_seconds", "overdue"];

/** A refusal, or no answer at all: then `status` is 0. */
export class ReelayError extends Error {
  constructor(status, { message, type = null, code = null, param = null, ...more }) {
    super(message, "cause" in more ? { cause: more.cause } : undefined);
    const { requestId = null, retryAfter = null, retryable = false } = more;
    Object.assign(this, { name: "ReelayError", status, type, code, param, requestId, retryAfter, retryable });
  }
}

export class Reelay {
  #base;
  #ask;
  #fetch;
  #held = null; // what `#ask` promised and gave
  #asking = null;
  #pollsUntil = 0;

  constructor({ baseUrl, credential, fetch } = {}) {
    this.#base = String(baseUrl ?? new URL(import.meta.url).origin).replace(/\/+$/, "");
    if (!/^https?:/.test(this.#base)) throw new TypeError("baseUrl must say where Reelay is, as an http(s) address.");
    if (!credential) throw new TypeError("credential must be a client token, a key, or a function that returns one.");
    this.#ask = typeof credential === "function" ? credential : () => credential;
    this.#fetch = (url, options) => (fetch ?? globalThis.fetch)(url, options);
  }

  async upload(file, { signal, idempotencyKey = newKey() } = {}) {
    const body = new FormData();
    body.set("file", file);
    return this.#make("/v1/files", { body, signal, idempotencyKey });
  }

  async create(order, { signal, idempotencyKey = newKey() } = {}) {
    return this.#make("/v1/jobs", { body: bodyOf(order), signal, idempotencyKey });
  }

  async estimate(order, { signal } = {}) {
    return (await this.#call("POST", "/v1/jobs/estimate", { body: bodyOf(order), signal, safe: true })).data;
  }

  async get(jobId, { signal } = {}) {
    return this.request("GET", pathOf(jobId), { signal });
  }

  async list(filters = {}, { signal } = {}) {
    return this.request("GET", "/v1/jobs", { query: filters, signal });
  }

  async *listAll(filters = {}, { signal } = {}) {
    for (let after = filters.after; ; ) {
      const page = await this.list({ limit: 100, ...filters, after }, { signal });
      yield* page.data;
      if (!page.has_more) return;
      after = page.last_id;
    }
  }

  async *watch(job, { signal } = {}) {
    const place = { after: null, failures: 0, retry: RETRY_MS, begun: false };
    let last;
    while (true) {
      let asked = null;
      try {
        for await (const seen of this.#looks(pathOf(job), place, signal)) {
          signal?.throwIfAborted();
          place.begun = true;
          const text = JSON.stringify(seen);
          if (text !== last) yield seen;
          last = text;
          if (ENDED.includes(seen.status)) return;
        }
      } catch (error) {
        if (!error?.retryable || !place.begun) throw error;
        asked = error.retryAfter;
      }
      await pauseBefore(place, asked, signal);
    }
  }

  async finished(job, { signal, onUpdate } = {}) {
    let last;
    for await (const seen of this.watch(job, { signal })) {
      last = seen;
      onUpdate?.(seen);
    }
    return last;
  }

  async *events({ signal, after = null } = {}) {
    const place = { after, failures: 0, retry: RETRY_MS, begun: false };
    while (true) {
      let asked = null;
      try {
        for await (const { event, id } of this.#happenings(place, signal)) {
          signal?.throwIfAborted();
          place.after = id;
          yield event;
        }
      } catch (error) {
        if (!error?.retryable || !place.begun) throw error;
        asked = error.retryAfter;
      }
      await pauseBefore(place, asked, signal);
    }
  }

  async timeline(jobId, { signal } = {}) {
    const found = [];
    while (true) {
      const query = { limit: 100, after: found.at(-1)?.id };
      const page = await this.request("GET", `${pathOf(jobId)}/events`, { query, signal });
      found.push(...page.data);
      if (!page.has_more) return found;
    }
  }

  async cancel(jobId, { signal } = {}) {
    return (await this.#call("POST", `${pathOf(jobId)}/cancel`, { signal, safe: true })).data;
  }

  async retry(jobId, { signal, acceptNewCharge = false, idempotencyKey = newKey() } = {}) {
    const body = { accept_new_charge: acceptNewCharge };
    return this.#make(`${pathOf(jobId)}/retry`, { body, signal, idempotencyKey });
  }

  async delete(jobId, { signal } = {}) {
    await this.request("DELETE", pathOf(jobId), { signal });
  }

  async models({ signal } = {}) {
    return this.request("GET", "/v1/models", { signal });
  }

  async model(id, { signal } = {}) {
    return this.request("GET", `/v1/models/${id.split("/").map(encodeURIComponent).join("/")}`, { signal });
  }

  async downloadUrl(job, { signal, variant = "video" } = {}) {
    const { status, video } = await this.get(typeof job === "string" ? job : job.id, { signal });
    const url = variant === "poster" ? video?.poster_url : video?.url;
    if (url) return `${url}${url.includes("?") ? "&" : "?"}download=1`;
    if (ENDED.includes(status)) throw new ReelayError(404, { message: `The job has no ${variant}: it is ${status}.`, code: "no_video" });
    throw new ReelayError(409, { message: "The video is not ready. Wait until the job is finished.", code: "video_not_ready" });
  }

  async request(method, path, { query, body, headers, signal } = {}) {
    return (await this.#call(method, path, { query, body, headers, signal, safe: method === "GET" })).data;
  }

  // Requests

  async #make(path, { body, signal, idempotencyKey }) {
    // The key makes every try the same request, so it may be sent until it is answered.
    const headers = { "Idempotency-Key": idempotencyKey };
    return (await this.#call("POST", path, { body, headers, signal, safe: true })).data;
  }

  /** Sends a request and, if it is safe to repeat, sends it again while that may help. Returns `{status, data, tag}`. */
  async #call(method, path, { safe = false, ...sent }) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once(method, path, sent);
      } catch (error) {
        const seconds = error?.retryAfter ?? 0;
        if (!safe || !error?.retryable || tries === TRIES || seconds > LONGEST_RETRY_AFTER) throw error;
        await pause(Math.max(1000 * seconds, jittered(500 * 2 ** tries)), sent.signal);
      }
    }
  }

  async #once(method, path, { query, body, headers, signal }) {
    const line = new Line(signal, this.#base);
    line.expect(body instanceof FormData ? FORM_MS : ANSWER_MS + 1000 * (query?.wait ?? 0));
    try {
      const response = await this.#send(line, method, path, { query, body, headers });
      const text = await line.hears(response.text());
      if (!response.ok && response.status !== 304) throw refusal(response, text);
      return { status: response.status, data: text ? read(text, response) : null, tag: response.headers.get("ETag") };
    } finally {
      line.close();
    }
  }

  /** Sends a request with the credential; where that is refused, which means that nothing was done, once more with a new one. */
  async #send(line, method, path, { query, body, headers }) {
    const url = `${this.#base}${path}${queryOf(query)}`;
    const sent = new Headers(headers);
    if (body !== undefined && !(body instanceof FormData)) {
      sent.set("Content-Type", "application/json");
      body = JSON.stringify(body);
    }
    const send = (token) => {
      if (token) sent.set("Authorization", `Bearer ${token}`);
      const options = { method, body, headers: sent, signal: line.signal, cache: "no-store", credentials: "omit" };
      return line.hears(this.#fetch(url, options));
    };
    const token = await this.#token(line);
    const response = await send(token);
    if (response.status !== 401) return response;
    const next = await this.#token(line, token);
    if (!next || next === token) return response;
    await response.body?.cancel();
    return send(next);
  }

  /** The credential. One that was promised is kept until it is refused, and whoever needs it meanwhile waits for the same. */
  async #token(line, refused = null) {
    if (this.#held && this.#held !== refused) return this.#held;
    if (!this.#asking) {
      const given = this.#ask({ refused: refused !== null });
      if (typeof given?.then !== "function") return given;
      this.#asking = Promise.resolve(given)
        .then((token) => (this.#held = token))
        .finally(() => (this.#asking = null));
    }
    return line.unlessBroken(this.#asking);
  }

  // Following

  get #polls() {
    return Date.now() < this.#pollsUntil;
  }

  #turnToPolls() {
    this.#pollsUntil = Date.now() + POLLS_MS;
  }

  /** Yields the job as it stands, then as events or polls tell, until the connection ends. */
  async *#looks(path, place, signal) {
    const look = async (sent = {}) => {
      const { status, data, tag } = await this.#call("GET", path, { ...sent, signal, safe: true });
      return status === 304 ? null : { job: data, tag };
    };
    let seen = await look();
    yield seen.job;
    place.after = eventsIn(seen.tag) ?? place.after;
    for await (const { event, id } of this.#live(`${path}/events`, place, signal)) {
      if (event.type !== "job.progress") {
        place.after = id;
        if (id !== null && Number(id) <= eventsIn(seen.tag)) continue; // the job as it was seen shows that already
        seen = await look();
      } else if (event.data.state === seen.job.state && event.data.progress >= seen.job.progress) {
        const told = TOLD_LIVE.map((name) => [name, event.data[name]]);
        seen = { ...seen, job: { ...seen.job, ...Object.fromEntries(told) } };
      }
      yield seen.job;
    }
    yield* this.#polled(look, seen, place, signal);
  }

  /** Waits for the next change of state; where none came, looks how far the job is. */
  async *#polled(look, seen, place, signal) {
    let wait = WAIT_SECONDS;
    while (this.#polls) {
      const began = Date.now();
      const found = await look({ query: { wait }, headers: seen.tag ? { "If-None-Match": seen.tag } : {} });
      place.failures = 0;
      if (found) yield (seen = found).job;
      wait = found || !wait ? WAIT_SECONDS : 0;
      await pause(POLL_PAUSE_MS - (Date.now() - began), signal);
    }
  }

  /** Yields the project's events after the place, live or a page at a time. */
  async *#happenings(place, signal) {
    yield* this.#live("/v1/events", place, signal);
    while (this.#polls) {
      place.after ??= await this.#newest(signal);
      const page = await this.request("GET", "/v1/events", { query: { after: place.after, limit: 100 }, signal });
      Object.assign(place, { failures: 0, begun: true });
      for (const event of page.data) yield { event, id: event.id };
      if (!page.has_more) await pause(LIST_PAUSE_MS, signal);
    }
  }

  /** The id of an event from which on to read, when nothing is known yet: the last one of the newest job. */
  async #newest(signal) {
    const [job] = (await this.list({ limit: 1 }, { signal })).data;
    return job ? (await this.timeline(job.id, { signal })).at(-1).id : "0";
  }

  /** Yields `{event, id}` from one connection. If it does not pass as a stream, polls are used for a while. */
  async *#live(path, place, signal) {
    if (this.#polls) return;
    const line = new Line(signal, this.#base);
    let heard = false;
    try {
      line.expect(FIRST_BYTES_MS);
      const headers = { Accept: TEXT_EVENTS, ...(place.after && { "Last-Event-ID": place.after }) };
      const response = await this.#send(line, "GET", path, { headers });
      if (!response.ok) throw refusal(response, await line.hears(response.text()));
      if (response.status === 204) return;
      if (!response.headers.get("Content-Type")?.startsWith(TEXT_EVENTS)) return this.#turnToPolls();
      place.begun = true;
      place.after ??= response.headers.get("Last-Event-ID"); // where it began, should nothing of it arrive
      const frames = new Frames();
      const reader = response.body.getReader();
      while (true) {
        const { done, value } = await line.hears(reader.read());
        line.rest(); // whoever takes the events may take its time
        if (done) return;
        heard = true;
        place.failures = 0;
        yield* frames.take(value);
        place.after = frames.id ?? place.after;
        place.retry = frames.retry ?? place.retry;
        line.expect(SILENCE_MS);
      }
    } catch (error) {
      if (!line.isLate) throw error;
      if (!heard) this.#turnToPolls();
    } finally {
      line.close();
    }
  }
}

/** One request: it breaks when the caller's signal says so, or when nothing has come for longer than expected. */
class Line {
  #controller = new AbortController();
  #outer;
  #base;
  #timer;
  #break = () => this.#controller.abort();
  isLate = false;

  constructor(outer, base) {
    this.#outer = outer;
    this.#base = base;
    if (outer?.aborted) this.#break();
    outer?.addEventListener("abort", this.#break);
  }

  get signal() {
    return this.#controller.signal;
  }

  expect(ms) {
    this.rest();
    this.#timer = setTimeout(() => {
      this.isLate = true;
      this.#break();
    }, ms);
  }

  rest() {
    clearTimeout(this.#timer);
  }

  close() {
    this.rest();
    this.#outer?.removeEventListener("abort", this.#break);
    this.#break();
  }

  /** What comes over the network, or why nothing does. */
  async hears(coming) {
    try {
      return await coming;
    } catch (cause) {
      throw this.#why(cause);
    }
  }

  /** What is promised, unless the line breaks first. */
  unlessBroken(promised) {
    return new Promise((resolve, reject) => {
      const stop = () => reject(this.#why());
      this.signal.addEventListener("abort", stop, { once: true });
      if (this.signal.aborted) stop();
      promised.then(resolve, reject);
    });
  }

  #why(cause) {
    if (this.#outer?.aborted) return this.#outer.reason;
    if (this.isLate) {
      return new ReelayError(0, { message: "No answer came in time. Check the connection, then try again.", cause, retryable: true });
    }
    const here = globalThis.location?.origin;
    const listed = here && here !== new URL(this.#base).origin ? `, and whether Reelay lists ${here} in REELAY_CORS_ORIGINS` : "";
    const message = `Reelay can’t be reached at ${this.#base}. Check the connection${listed}, then try again.`;
    return new ReelayError(0, { message, cause, retryable: true });
  }
}

/** Server-Sent Events out of bytes that come in any pieces. */
class Frames {
  #decoder = new TextDecoder();
  #rest = "";
  #data = [];
  #id = null;
  id = null; // of the last event that came whole
  retry = null;

  *take(bytes) {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/); // a return at the very end may be half of a line's end
    this.#rest = lines.pop();
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (name === "data") this.#data.push(value);
      else if (name === "id" && !value.includes("\0")) this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
      else if (line === "") yield* this.#whole();
    }
  }

  *#whole() {
    const data = this.#data.join("\n");
    this.#data = [];
    this.id = this.#id;
    if (data) yield { event: JSON.parse(data), id: this.id };
  }
}

const isFile = (value) => value instanceof Blob;
const holdsFile = (value) => isFile(value) || (typeof value === "object" && Object.values(value ?? {}).some(holdsFile));

/** An order as JSON or, where it holds Blobs, as a form. */
function bodyOf({ input = {}, metadata, ...fields }) {
  if (!holdsFile(input)) return { ...fields, input, metadata };
  const form = new FormData();
  for (const [name, value] of [...Object.entries({ ...fields, metadata }), ...Object.entries(input)]) {
    if (value === undefined || value === null) continue;
    if (isFile(value)) form.append(name, value);
    else if (typeof value !== "object") form.append(name, String(value));
    else if (!holdsFile(value)) form.append(name, JSON.stringify(value));
    else if (Array.isArray(value) && value.every(isFile)) value.forEach((file) => form.append(name, file));
    else throw new TypeError(`input.${name}: a form can’t say that. Upload the Blobs, and put the ids of the files in their places.`);
  }
  return form;
}

function pathOf(job) {
  return `/v1/jobs/${encodeURIComponent(typeof job === "string" ? job : job.id)}`;
}

function queryOf(given = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) value.forEach((one) => query.append(name, one));
    else if (Object.getPrototypeOf(value) === Object.prototype) {
      for (const [key, one] of Object.entries(value)) query.append(`${name}[${key}]`, one);
    } else query.append(name, value instanceof Date ? value.toISOString() : value);
  }
  return `${query}` && `?${query}`;
}

/** How many events the job had had when it was seen: the first part of its tag says so. */
function eventsIn(tag) {
  return /^(?:W\/)?"(\d+)-/.exec(tag ?? "")?.[1] ?? null;
}

function read(text, response) {
  try {
    return JSON.parse(text);
  } catch {
    const message = "What answered is not Reelay: check baseUrl, and what stands between.";
    throw new ReelayError(response.status, { message });
  }
}

function refusal({ status, headers }, text) {
  let told;
  try {
    told = JSON.parse(text).error;
  } catch {
    // A proxy's page.
  }
  const { message = `Reelay answered ${status}. Try again in a moment.`, ...fields } = told ?? {};
  const retryAfter = secondsOf(headers.get("Retry-After"));
  const waits = status === 409 || status === 429 ? retryAfter !== null : status === 408 || status >= 500;
  const retryable = waits && headers.get("x-should-retry") !== "false";
  const requestId = fields.request_id ?? headers.get("X-Request-Id");
  return new ReelayError(status, { message, ...fields, requestId, retryAfter, retryable });
}

function secondsOf(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** A key that nobody else has. `randomUUID` is missing on pages without TLS. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const jittered = (ms) => ms * (0.5 + Math.random());

/** Waits before the next connection: longer the more of them have brought nothing. */
async function pauseBefore(place, seconds, signal) {
  const ms = Math.min(place.retry * 2 ** place.failures++, LONGEST_PAUSE_MS);
  await pause(Math.max(jittered(ms), 1000 * (seconds ?? 0)), signal);
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
