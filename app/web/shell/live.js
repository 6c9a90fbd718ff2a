// All jobs that the page knows, kept up to date: one stream of events for all of them (browsers open six connections to a
// host), and a look every few seconds while one that is shown is unfinished, for places in line and lost connections.

import { announce } from "./toasts.js";
import { api } from "./session.js";
import { hasEnded, headline } from "./words.js";
import { useEffect, useState } from "./ui.js";

const LOOK_SECONDS = 4;
const jobs = new Map();
const readers = new Set();
const watched = new Map(); // id -> how many show it
const pending = new Set();
let stream = null;
let timer = null;

/** Takes note of a job as it stands now. */
export function put(job) {
  const before = jobs.get(job.id);
  jobs.set(job.id, { ...job, seen_at: performance.now() });
  if (watched.has(job.id) && before && before.state !== job.state) {
    announce(`${headline(job)}: ${String(job.input?.prompt ?? job.id).slice(0, 80)}`);
  }
  for (const tell of readers) tell(job, before);
}

export const known = (id) => jobs.get(id) ?? null;

/** Forgets a job that was deleted. */
export function forget(id) {
  jobs.delete(id);
  for (const tell of readers) tell({ id, deleted: true });
}

/** Calls back with every job that changes, and what it was before. */
export function useNews(tell) {
  useEffect(() => {
    readers.add(tell);
    follow();
    return () => readers.delete(tell);
  });
}

/** Returns the job as it stands now, and draws anew when it changes. Null while it is not known. */
export function useJob(id) {
  const [, draw] = useState({});
  useEffect(() => {
    watched.set(id, (watched.get(id) ?? 0) + 1);
    timer ??= setInterval(look, LOOK_SECONDS * 1000);
    return () => {
      if (watched.get(id) === 1) watched.delete(id);
      else watched.set(id, watched.get(id) - 1);
    };
  }, [id]);
  useNews((job) => job.id === id && draw({}));
  return known(id);
}

/** Lets go of everything: the session is over. */
export function stop() {
  stream?.abort();
  clearInterval(timer);
  stream = timer = null;
  jobs.clear();
}

async function follow() {
  if (stream) return;
  stream = new AbortController();
  const { signal } = stream;
  try {
    for await (const event of api.events({ signal })) {
      const id = event.data?.job_id;
      if (!id) continue;
      if (event.type === "job.deleted") forget(id);
      else read(id);
    }
  } catch {
    // The looks go on without it; the next view tries to follow again.
  }
  if (stream?.signal === signal) stream = null;
}

async function read(id) {
  if (pending.has(id)) return;
  pending.add(id);
  await new Promise((soon) => setTimeout(soon, 50)); // several events of a job come at once
  pending.delete(id);
  await api.get(id).then(put, (error) => error.status === 404 && forget(id));
}

async function look() {
  if (document.hidden) return;
  const open = [...watched.keys()].map(known).filter((job) => job && !hasEnded(job));
  if (!open.length) return;
  const { data } = await api.list({ status: ["queued", "in_progress"], limit: 100 }).catch(() => ({ data: null }));
  if (!data) return;
  for (const job of data) put(job);
  for (const job of open) if (!data.some(({ id }) => id === job.id)) read(job.id);
}
