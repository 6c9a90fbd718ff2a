// What the page says about a job's state.

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
  upstream_failed: "Make it again.",
  upstream_lost: "Make it again.",
  submission_unconfirmed: "Ask whoever runs this service before you make it again.",
  result_unavailable: "Make it again.",
  not_started_in_time: "Make it again when there is less to do.",
  cost_limit_exceeded: "The price has changed. Reload the page to see the new one.",
};

export const headline = (job) => TITLES[job.state] ?? job.status;

/** Why a job failed, what to do, and whether it cost anything. */
export function sentence(job, { simulated }) {
  const { message = "", code = "", billed = false } = job.error ?? {};
  const cost = simulated ? "" : billed ? "It was charged." : "Nothing was charged.";
  return [message, ADVICE[code], cost].filter(Boolean).join(" ");
}

export function ordinal(number) {
  const endings = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${number}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(number)]}`;
}
