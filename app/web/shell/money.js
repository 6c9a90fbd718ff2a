// What a video will cost, by the price rule of its model. The server reckons the same way and has the last word.

const SECONDS = new Set(["second", "seconds", "sec", "secs", "s"]);
const VIDEOS = new Set(["video", "videos"]);

/** Returns dollars, or null where they can't be known ahead. `input` holds the model's defaults too. */
export function estimate(rule, input) {
  const micros = rule?.kind === "fixed" ? fixed(rule, input) : rule?.kind === "variants" ? variant(rule, input) : NaN;
  return Number.isFinite(micros) ? micros / 1e6 : null;
}

export function dollars(usd) {
  const digits = usd > 0 && usd < 0.1 ? 4 : 2;
  return usd.toLocaleString("en-US", {
    style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: digits,
  });
}

function fixed(rule, input) {
  return rule.units.reduce((sum, price) => sum + cost(price, input), 0);
}

/** The matching variant with the most conditions; without one, the dearest that the input does not contradict. */
function variant({ variants }, input) {
  const conditions = ({ when }) => Object.entries(when ?? {});
  const agrees = ([name, value]) => name in input && fold(input[name]) === fold(value);
  const matching = variants.filter((found) => conditions(found).every(agrees));
  const most = Math.max(...matching.map((found) => conditions(found).length));
  const closest = matching.filter((found) => conditions(found).length === most);
  const possible = variants.filter((found) => conditions(found).every((pair) => agrees(pair) || !(pair[0] in input)));
  const considered = [closest, possible, variants].find((list) => list.length) ?? [];
  return Math.max(...considered.map((found) => cost(found, input)));
}

/** Micro-dollars, rounded up; NaN, which swallows every sum and maximum, if a unit or the duration is unknown. */
function cost({ price, unit, per }, input) {
  const seconds = Number(input.duration) > 0 ? Number(input.duration) : NaN;
  const quantity = VIDEOS.has(unit) ? 1 : SECONDS.has(unit) ? seconds : NaN;
  return Math.ceil((Number(price) * quantity * 1e6) / Number(per ?? 1) - 1e-3);
}

/** Makes one of the ways a value is written: "720P" and "720p", 5 and "5". */
function fold(value) {
  const text = String(value).trim().toLowerCase();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
