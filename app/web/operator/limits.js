// The fields of a project's limits. An empty one is no limit.

import { Field, html } from "../shell/ui.js";

const NUMBERS = [
  ["monthly_budget_usd", "Monthly budget, in dollars", { min: 0, step: "any", inputmode: "decimal" }, "Jobs that would pass it are refused."],
  ["max_in_flight", "Videos at a time", { min: 1, step: 1, inputmode: "numeric" }, "More wait in line."],
  ["requests_per_minute", "Requests a minute", { min: 1, step: 1, inputmode: "numeric" }],
];

/** What the form says, as the API takes it. A new project is told only what was filled in. */
export function limitsOf(fields, { all = false } = {}) {
  const numbers = NUMBERS.map(([name]) => [name, fields[name].trim() === "" ? null : Number(fields[name])]);
  const models = fields.models.split(/[\s,]+/).filter(Boolean);
  const found = [...numbers, ["models", models.length ? models : null]];
  return Object.fromEntries(found.filter(([, value]) => all || value !== null));
}

/** `of` is the project; `wrong` tells what the API said of a field. */
export const Limits = ({ of, wrong, isNew }) => html`
  ${isNew && html`<${Field} label="Name" error=${wrong("name")}>${(tied) => html`<input ...${tied} name="name" required maxlength="100" autocomplete="off" autofocus />`}<//>`}
  <div class="pair">${NUMBERS.map(([name, label, more, hint]) => html`<${Field} label=${label} optional hint=${hint} error=${wrong(name)}>${(tied) => html`
    <input ...${tied} ...${more} type="number" name=${name} defaultValue=${of[name] ?? ""} placeholder="no limit" />`}<//>`)}</div>
  <${Field} label="Models" optional error=${wrong("models")} hint="The only ones it may use, one a line; empty for all.">${(tied) => html`
    <textarea ...${tied} name="models" rows="2" spellcheck="false" autocapitalize="none" defaultValue=${of.models?.join("\n") ?? ""}></textarea>`}<//>`;
