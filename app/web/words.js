// What the page says about a job.

import { simulated } from "./dom.js";

const TITLES = {
  queued: "Waiting",
  submitting: "Handing it over",
  unconfirmed: "Making sure",
  generating: "Generating",
  saving: "Saving the video",
  succeeded: "Ready",
  failed: "No video",
  canceled: "Canceled",
  abandoned: "Canceled",
};

const ADVICE = {
  invalid_input: "Change the prompt or the image, then make it again.",
  content_filtered: "Change the prompt or the image: the provider’s filter declined this one.",
  upstream_rejected: "Try again later, or ask whoever runs this service.",
  submission_unconfirmed: "Ask whoever runs this service before you make it again.",
  cost_limit_exceeded: "The price has changed. Reload the page to see the new one.",
};

export const headline = (job) => TITLES[job.state] ?? job.status;

/** Why a job failed, what to do, and whether it cost anything; nothing unless it did. */
export function failure({ error }) {
  if (!error) return "";
  const reason = error.message.replace(/[^.!?]$/, "$&.");
  const cost = simulated ? "" : error.billed ? "It was charged." : "Nothing was charged.";
  return `${reason} ${ADVICE[error.code] ?? "Make it again."} ${cost}`;
}

export function ordinal(number) {
  const endings = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${number}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(number)]}`;
}
