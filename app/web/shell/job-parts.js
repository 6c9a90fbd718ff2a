// A job as it is seen: the video or what stands in for it, how far it is, and what can be done with it.

import { api } from "./session.js";
import { forget, put } from "./live.js";
import { hasEnded, headline, line, wasBought } from "./words.js";
import { html, useEffect, useRef, useState } from "./ui.js";
import { toast } from "./toasts.js";

const EXPECTED_END = 90;

/** The address of a job's video or poster. Only the signature of the one we were given is kept: the host stays ours. */
export const contentOf = (job, url) => `v1/jobs/${job.id}/content${new URL(url, location.href).search}`;

/** How far it is, in percent, moving smoothly between answers, and the seconds that are left. */
function useProgress(job) {
  const [, draw] = useState(0);
  const furthest = useRef(0);
  const open = job && !hasEnded(job);
  useEffect(() => {
    if (!open) return undefined;
    const ticking = setInterval(() => draw((count) => count + 1), 250);
    return () => clearInterval(ticking);
  }, [open]);
  if (!job) return { percent: 0, left: null };
  if (!open) return { percent: job.video ? 100 : 0, left: null };
  const passed = (performance.now() - (job.seen_at ?? performance.now())) / 1000;
  const share = job.eta_seconds ? Math.min(1, passed / job.eta_seconds) : 0;
  const ahead = job.state === "generating" ? Math.max(0, EXPECTED_END - job.progress) * share : 0;
  furthest.current = Math.max(furthest.current, job.progress + ahead);
  return { percent: furthest.current, left: job.eta_seconds === null ? null : job.eta_seconds - passed };
}

const Bar = ({ percent, job }) => html`
  <div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.floor(percent)}
    aria-valuetext=${`${headline(job)}, ${Math.floor(percent)} percent`}><i style=${{ width: `${percent}%` }}></i></div>`;

/** The video once it is there; before that the picture it is made from, which comes to life from left to right. */
export function Screen({ job, still, video }) {
  const { percent } = useProgress(job);
  const reread = useRef(false);
  // The signature in the address ends after an hour or so: ask for a fresh one, once.
  const refresh = () => {
    if (reread.current) return;
    reread.current = true;
    api.get(job.id).then(put, () => {});
  };
  if (job.video) {
    const poster = job.video.poster_url ? contentOf(job, job.video.poster_url) : undefined;
    return html`<div class="screen"><video ref=${video} controls playsinline loop preload="metadata" poster=${poster}
      src=${contentOf(job, job.video.url)} aria-label=${job.input?.prompt ?? "Video"} onError=${refresh}></video></div>`;
  }
  return html`<div class="screen">
    ${still && html`<img src=${still} alt="" /><div class="veil" style=${{ left: `${percent}%` }}></div>`}
    ${!still && html`<p class="state-word">${headline(job)}</p>`}
  </div>`;
}

export function StateLine({ job }) {
  const { percent, left } = useProgress(job);
  return html`
    <${Bar} percent=${percent} job=${job} />
    <div class="spread"><strong class="state" data-status=${job.status}>${headline(job)}</strong>
      ${!hasEnded(job) && job.started_at && html`<span class="number quiet">${Math.floor(percent)} %</span>`}</div>
    <p class=${job.status === "failed" ? "line error" : "line quiet number"}>${line(job, left)}</p>`;
}

/** What can be done with the job; a view leaves out what it does not offer. `onExtend` gets the video element too. */
export function Actions({ job, video, isBrief, onAgain, onExtend, onGone }) {
  const [asked, setAsked] = useState("");
  const act = async (name, run) => {
    try {
      await run();
    } catch (error) {
      toast(error.message, "bad");
    }
    setAsked("");
  };
  const sure = (name, run) => () => (asked === name ? act(name, run) : setAsked(name));
  const cancel = sure("cancel", async () => put(await api.cancel(job.id)));
  const retry = async () => {
    const again = await api.retry(job.id, { acceptNewCharge: true });
    put(again);
    location.hash = `#/jobs/${again.id}`;
  };
  const remove = sure("delete", async () => {
    await api.delete(job.id);
    forget(job.id);
    toast("Deleted, with its video and its input.");
    onGone?.();
  });
  const copy = () => act("copy", async () => {
    await navigator.clipboard.writeText(new URL(contentOf(job, job.video.url), location.href).href);
    toast("Link copied. Whoever has it can watch for about an hour.");
  });
  const button = (label, onClick, kind = "") => html`<button type="button" class=${`button small ${kind}`} onClick=${onClick}>${label}</button>`;
  return html`<div class="row actions">
    ${job.video && html`<a class="button small" download href=${`${contentOf(job, job.video.url)}&download=true`}>Download</a>`}
    ${job.video && !isBrief && button("Copy link", copy)}
    ${onAgain && button("Again with changes", () => onAgain(job))}
    ${job.video && onExtend && !isBrief && button("Extend from last frame", () => act("extend", () => onExtend(job, video.current)))}
    ${job.status === "queued" && button("Cancel", () => act("cancel", async () => put(await api.cancel(job.id))))}
    ${job.status === "in_progress" && job.state !== "saving" && !job.cancel_requested_at &&
      button(asked !== "cancel" ? "Cancel" : wasBought(job) ? "Cancel, though it is paid for?" : "Really cancel?", cancel)}
    ${["failed", "canceled"].includes(job.status) &&
      (wasBought(job) ? button(asked === "retry" ? "Retry, and pay again?" : "Retry", sure("retry", retry)) : button("Retry", () => act("retry", retry)))}
    ${onGone && hasEnded(job) && button(asked === "delete" ? "Delete for good?" : "Delete", remove, "danger")}
  </div>`;
}
