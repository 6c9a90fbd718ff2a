// What the operator's view says of times, holds and limits.

export const SHORT_DAY = new Intl.DateTimeFormat("en-US", { day: "numeric", month: "short", timeZone: "UTC" });
export const MONTH = new Intl.DateTimeFormat("en-US", { month: "long", year: "numeric", timeZone: "UTC" });
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

/** How long since, in the largest unit that fits; "0 s" for what is to come. */
export function age(at, now = Date.now()) {
  const seconds = Math.max(0, Math.round((new Date(now) - new Date(at)) / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}
export const ago = (at, now) => `${age(at, now)} ago`;
export const until = (at, now = Date.now()) => (new Date(at) > now ? `in ${age(now, at)}` : "now");
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
export const headed = (text) => text[0].toUpperCase() + text.slice(1);
export const spoken = (code) => code.replaceAll("_", " ");

/** Why nothing is submitted, and what ends it. */
const HOLDS = {
  upstream_key_refused: "The provider refuses the key. Mend REELAY_UPSTREAM_API_KEY, then restart.",
  upstream_out_of_credits: "The balance does not cover what is wanted. Top the account up; it goes on by itself.",
  upstream_forbidden: "The provider answered 403, and the balance could not be read. Look at the account.",
  upstream_rate_limited: "The provider asked for a pause. It goes on by itself, slowly at first.",
  upstream_unreachable: "No connection to the provider. Look at the network, DNS and REELAY_UPSTREAM_URL.",
  upstream_failing: "Three submissions in a row ended in doubt. It goes on when the provider answers a free call.",
  restored_database: "The database was restored. It goes on when the usage log has been read.",
  model_forbidden: "The provider refuses this model. Ask it for the right to use it.",
};
export const holdText = (reason) => HOLDS[reason] ?? `Why: ${spoken(reason)}.`;
