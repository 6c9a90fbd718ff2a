// From the draft to jobs: the input as the service takes it, its price, and the order of one or several.

import { properties, requiredOf } from "./fields.js";
import { isMedia, Media } from "./media.js";

let attempt = null;

/** The input: only what somebody set and what this model takes; the rest is up to its defaults. */
export async function inputOf(model, values) {
  const input = {};
  for (const name of Object.keys(properties(model))) {
    const value = values[name];
    const isEmpty = value === undefined || value === "" || (Array.isArray(value) && !value.length);
    if (isEmpty || !fits(properties(model)[name], value)) continue;
    input[name] = await given(value);
  }
  return input;
}

/** Whether a value chosen for another model means something to this one. */
function fits(schema, value) {
  if (schema.enum) return schema.enum.some((one) => String(one) === String(value));
  return value instanceof Media ? isMedia(schema) : true;
}

async function given(value) {
  if (value instanceof Media) return value.given();
  return Array.isArray(value) ? Promise.all(value.map(given)) : value;
}

/** The parameters that are needed and missing. */
export const missingOf = (model, input) => requiredOf(model).filter((name) => input[name] === undefined || String(input[name]).trim() === "");
export const takesSeed = (model) => "seed" in properties(model);

/** The parameter that an error is about: `input.duration` is "duration". Empty if it is about none. */
export const fieldOf = (error) => (error.param ?? "").replace(/^input\./, "").split(".")[0];

/**
 * Orders `count` jobs, each with a seed and an idempotency key of its own, and tells of each as it is made. What got no
 * answer may exist: the same order again carries the same keys, and only what was not made yet.
 */
export async function order(api, { model, input, count, cap, onMade }) {
  const content = JSON.stringify([model.id, input, count], (_, value) => (value instanceof Blob ? `${value.size} bytes` : value));
  if (attempt?.content !== content) attempt = { content, left: orders(model, input, count) };
  while (attempt.left.length) {
    const [one] = attempt.left;
    const body = { model: model.id, input: one.input, ...(cap > 0 && { max_cost_usd: cap }) };
    onMade(await api.create(body, { idempotencyKey: one.key }));
    attempt.left.shift();
  }
  attempt = null;
}

function orders(model, input, count) {
  const first = Number.isInteger(input.seed) ? input.seed : Math.floor(Math.random() * 2 ** 30);
  return Array.from({ length: count }, (_, index) => ({
    key: randomKey(),
    input: count > 1 && takesSeed(model) ? { ...input, seed: first + index } : input,
  }));
}

const randomKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
