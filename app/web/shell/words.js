// What the page says about a job.

import { dollars } from "./money.js";
import { simulated } from "./page.js";

const TITLES = {
  queued: "Waiting", submitting: "Handing it over", unconfirmed: "Making sure", generating: "Generating",
  saving: "Saving the video", succeeded: "Ready", failed: "No video", canceled: "Canceled", abandoned: "Canceled",
};
const ADVICE = {
  invalid_input: "Change the prompt or the image, then make it again.",
  content_filtered: "Change the prompt or the image: the provider’s filter declined this one.",
  upstream_rejected: "Try again later, or ask whoever runs this service.",
  submission_unconfirmed: "Ask whoever runs this service before you make it again.",
  cost_limit_exceeded: "The price has changed. Order it again to see the new one.",
};

export const headline = (job) => TITLES[job.state] ?? job.status;
export const hasEnded = (job) => ["succeeded", "failed", "canceled"].includes(job.status);
export const tone = (job) => ({ succeeded: "good", failed: "bad" })[job.status] ?? "";
/** Whether something was bought for it, or may have been. */
export const wasBought = (job) => !simulated && (Boolean(job.started_at) || ["unconfirmed", "abandoned"].includes(job.state));

/** Why a job failed, what to do, and whether it cost anything. */
function failure({ error }) {
  if (!error) return "";
  const reason = error.message.replace(/[^.!?]$/, "$&.");
  const cost = simulated ? "" : error.billed ? " It was charged." : " Nothing was charged.";
  return `${reason} ${ADVICE[error.code] ?? "Make it again."}${cost}`;
}

/** One line on how it stands. `left` is in seconds; null if nobody can tell. */
export function line(job, left) {
  if (job.video) return [facts(job.video), paid(job.cost)].filter(Boolean).join(" · ");
  if (job.status === "canceled") return wasBought(job) ? `Bought before it was canceled. ${paid(job.cost)}` : "Nothing was charged.";
  if (job.status === "failed") return failure(job);
  if (job.cancel_requested_at) return "It is canceled as soon as that is certain.";
  if (job.queue?.reason) return `Waiting: ${job.queue.reason.replaceAll("_", " ")}.`;
  if (job.state === "queued") return job.queue?.position > 1 ? `${ordinal(job.queue.position)} in line` : "Next in line";
  if (job.overdue) return "Slower than usual. It may still end well; nothing needs doing.";
  if (job.state !== "generating") return "A moment…";
  return left !== null && left > 0.5 ? `About ${span(Math.ceil(left))} left` : "Any moment now";
}

export const span = (seconds) => (seconds < 100 ? `${seconds}\u00a0s` : `${Math.round(seconds / 60)}\u00a0min`);

function facts({ width, height, duration_seconds: seconds, size_bytes: bytes }) {
  const known = [width && `${width} × ${height}`, seconds && `${Number(seconds.toFixed(1))} s`];
  return [...known, `${(bytes / 1e6).toFixed(1)} MB`].filter(Boolean).join(" · ");
}

function paid(cost) {
  if (simulated) return "free";
  if (cost?.charged_usd == null) return "";
  return (cost.basis === "estimated" ? "about " : "") + dollars(cost.charged_usd);
}

function ordinal(number) {
  const endings = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${number}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(number)]}`;
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const moment = (text) => DAY.format(new Date(text));
