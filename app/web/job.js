// One job on the stage: followed live until it ends, with a bar that moves smoothly between answers.

import { call } from "./api.js";
import { $, simulated } from "./dom.js";
import { dollars } from "./money.js";
import { failure, headline, ordinal } from "./words.js";

const EXPECTED_END = 90;
let current = null;
let following = null;
let ticking = null;

const ended = (job) => ["succeeded", "failed", "canceled"].includes(job.status);

/** The address of a job's video or poster. Only the signature of the one we were given is kept: the host stays ours. */
export const contentOf = (job, url) => `v1/jobs/${job.id}/content${new URL(url, location.href).search}`;

/** Shows a job and follows it. `still` is the image it was made from, if known here; `onChange` hears of its states. */
export function watch(job, { still = null, onChange }) {
  leave();
  following = new AbortController();
  current = { job, still, onChange, seen: null, shown: 0, note: "" };
  history.replaceState(null, "", `#${job.id}`);
  ticking = setInterval(tick, 250);
  render(job);
  if (!ended(job)) follow(job.id, following.signal);
}

export function leave() {
  following?.abort();
  clearInterval(ticking);
  current = null;
  $("video").removeAttribute("src");
  $("video").load();
}

async function follow(id, signal) {
  let tag = "";
  let waited = false;
  let pause = 0;
  while (!signal.aborted) {
    try {
      // A wait ends when the state changes. After one in vain, one look tells how far it is and what it waits for.
      const wait = tag && !waited;
      const { data, etag } = await call(`v1/jobs/${id}${wait ? "?wait=5" : ""}`, {
        headers: tag ? { "If-None-Match": tag } : {}, signal,
      });
      if (signal.aborted) return;
      current.note = "";
      pause = 0.25;
      waited = wait && !data;
      if (data) {
        tag = etag;
        render(data);
        if (ended(data)) return;
      }
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      if (error.status === 404) return leaveNote("This job is gone: it was deleted.");
      pause = Math.min(10, Math.max(1, pause * 2));
      leaveNote("The connection is lost. The job goes on; trying again…");
    }
    await new Promise((wake) => setTimeout(wake, pause * 1000));
  }
}

function render(job) {
  const before = current.job;
  const news = before.state !== job.state || current.seen === null;
  current.job = job;
  current.seen = { at: performance.now(), progress: job.progress ?? 0, eta: job.eta_seconds };
  $("job").dataset.state = job.state;
  $("job-title").textContent = headline(job);
  $("job-prompt").textContent = job.input?.prompt ?? "";
  if (document.activeElement === $("cancel") && ended(job)) $("job-title").focus();
  $("cancel").hidden = ended(job) || job.state === "saving";
  if (news) {
    current.confirming = false;
    $("cancel").textContent = "Cancel";
    stage(job);
    $("announce").textContent = `${headline(job)}. ${failure(job)}`;
    current.onChange(job);
  }
  $("bar").setAttribute("aria-valuenow", String(job.progress ?? 0));
  tick();
}

function stage(job) {
  const [video, still] = [$("video"), $("still")];
  video.hidden = !job.video;
  still.hidden = Boolean(job.video) || !current.still;
  if (current.still) still.src = current.still;
  $("download").hidden = !job.video;
  if (!job.video) return;
  const source = contentOf(job, job.video.url);
  video.poster = job.video.poster_url ? contentOf(job, job.video.poster_url) : "";
  video.src = source;
  $("download").href = `${source}&download=1`;
}

function tick() {
  const { job, seen } = current;
  const passed = (performance.now() - seen.at) / 1000;
  const share = seen.eta ? Math.min(1, passed / seen.eta) : 0;
  const ahead = job.state === "generating" ? Math.max(0, EXPECTED_END - seen.progress) * share : 0;
  current.shown = ended(job) ? (job.video ? 100 : 0) : Math.max(current.shown, seen.progress + ahead);
  $("job").style.setProperty("--done", `${current.shown}%`);
  $("percent").textContent = job.started_at && !ended(job) ? `${Math.floor(current.shown)}%` : "";
  $("job-line").textContent = current.note || line(job, seen.eta === null ? null : seen.eta - passed);
  if (ended(job)) clearInterval(ticking);
}

function line(job, left) {
  if (job.video) return [facts(job.video), paid(job.cost)].filter(Boolean).join(" · ");
  if (job.status === "canceled") {
    return bought(job) ? `Bought before it was canceled. ${paid(job.cost)}` : "Nothing was charged.";
  }
  if (job.status === "failed") return failure(job);
  if (job.cancel_requested_at) return "It is canceled as soon as that is certain.";
  if (job.queue?.reason) return `Waiting: ${job.queue.reason.replaceAll("_", " ")}.`;
  if (job.state === "queued") return `${job.queue?.position > 1 ? ordinal(job.queue.position) : "Next"} in line`;
  if (job.overdue) return "Slower than usual. It may still end well; nothing needs doing.";
  if (job.state !== "generating") return "A moment…";
  return left !== null && left > 0.5 ? `About ${duration(Math.ceil(left))} left` : "Any moment now";
}

const bought = (job) => !simulated && (Boolean(job.started_at) || ["unconfirmed", "abandoned"].includes(job.state));
const duration = (seconds) => (seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`);

function facts({ width, height, duration_seconds: seconds, size_bytes: bytes }) {
  const known = [width && `${width} × ${height}`, seconds && `${Number(seconds.toFixed(1))} s`];
  return [...known, `${(bytes / 1e6).toFixed(1)} MB`].filter(Boolean).join(" · ");
}

function paid(cost) {
  if (simulated) return "free";
  if (cost?.charged_usd == null) return "";
  return (cost.basis === "estimated" ? "about " : "") + dollars(cost.charged_usd);
}

/** Says what went wrong with the connection or a button, until the next answer. */
function leaveNote(message) {
  current.note = message;
  tick();
}

$("cancel").addEventListener("click", async () => {
  const watched = current;
  if (watched.job.state !== "queued" && !watched.confirming) {
    watched.confirming = true;
    $("cancel").textContent = bought(watched.job) ? "Cancel, though it is paid for?" : "Really cancel?";
    return;
  }
  try {
    const { data } = await call(`v1/jobs/${watched.job.id}/cancel`, { method: "POST" });
    if (watched === current) render(data);
  } catch (error) {
    if (watched === current) leaveNote(error.message);
  }
});

// The signature in the address of a video ends after an hour or so: ask for a fresh one, once.
$("video").addEventListener("error", async () => {
  const watched = current;
  if (!watched?.job.video || watched.reread) return;
  watched.reread = true;
  const answer = await call(`v1/jobs/${watched.job.id}`).catch(() => null);
  if (answer?.data && watched === current) stage(answer.data);
});
