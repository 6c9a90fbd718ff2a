// What waits, what runs, and what needs a person: the first thing that an operator looks at.

import { age, ago, plural } from "./words.js";
import { html, useEffect, useRef } from "../shell/ui.js";
import { Meter, Spent } from "./parts.js";
import { announce } from "../shell/toasts.js";
import { dollars } from "../shell/money.js";
import { InDoubt } from "./in-doubt.js";
import { Read, usePolled } from "./polled.js";
import { Upstream } from "./upstream.js";

const AT_WORK = { submitting: "handing over", generating: "generating", saving: "saving", abandoned: "canceled after it was bought" };
const MOST_IN_DOUBT = 50;
const ALIVE_SECONDS = 60;

async function read(api, call) {
  const [standing, upstream] = await Promise.all([api.request("GET", "/v1/admin/overview", call), api.request("GET", "/v1/admin/upstream", call)]);
  const query = { state: "unconfirmed", limit: MOST_IN_DOUBT };
  const doubtful = upstream.unconfirmed ? (await api.request("GET", "/v1/admin/jobs", { query, ...call })).data : [];
  return { standing, upstream, doubtful };
}

export function Overview({ api, name }) {
  const polled = usePolled((call) => read(api, call), []);
  const before = useRef(0);
  const needed = polled.data?.upstream.unresolved ?? 0;
  useEffect(() => {
    if (needed > before.current) announce(`${plural(needed, "unconfirmed job needs", "unconfirmed jobs need")} you.`);
    before.current = needed;
  }, [needed]);
  return html`<h1 tabindex="-1">${name}</h1>
    <${Read} of=${polled} lines=${8}>${({ standing, upstream, doubtful }) => html`
      <${Counts} standing=${standing} upstream=${upstream} />
      <div class="halves">
        <${Upstream} api=${api} upstream=${upstream} onChange=${polled.again} />
        <${Rest} standing=${standing} />
      </div>
      ${doubtful.length > 0 && html`<${InDoubt} api=${api} jobs=${doubtful} now=${standing.at} onChange=${polled.again} />`}`}<//>`;
}

function Counts({ standing, upstream }) {
  const of = (state) => standing.jobs.find((one) => one.state === state) ?? { count: 0, oldest_at: null };
  const running = Object.keys(AT_WORK).map(of);
  const oldest = running.map(({ oldest_at: at }) => at).filter(Boolean).sort()[0] ?? null;
  const parts = running.filter(({ count }) => count).map(({ state, count }) => `${count} ${AT_WORK[state]}`).join(", ");
  const atRisk = standing.unconfirmed_usd > 0 && `${dollars(standing.unconfirmed_usd)} at risk`;
  const needed = upstream.unresolved > 0 && plural(upstream.unresolved, "needs you", "need you");
  const count = (name, { count: number, oldest_at: at }, more, warns) => html`
    <div class="count card" data-warns=${warns && number > 0 ? "yes" : undefined}><dt>${name}</dt>
      <dd><strong class="number">${number.toLocaleString("en-US")}</strong>
        <span class="small quiet">${number && at ? `oldest ${age(at, standing.at)}` : "\u00a0"}</span>
        <span class="small quiet">${more || "\u00a0"}</span></dd></div>`;
  return html`<dl class="counts">
    ${count("Queued", of("queued"))}
    ${count("Running", { count: running.reduce((sum, { count }) => sum + count, 0), oldest_at: oldest }, parts)}
    ${count("Unconfirmed", of("unconfirmed"), [needed, atRisk].filter(Boolean).join(", "), true)}
    ${count("Held", of("held"), of("held").count > 0 && "of the queued, for a reason", true)}</dl>`;
}

function Rest({ standing: { month, workers, webhooks, at } }) {
  const isAlive = ({ seen_at: seen }) => new Date(at) - new Date(seen) < ALIVE_SECONDS * 1000;
  const lastSeen = (some) => ago(some.map(({ seen_at: seen }) => seen).sort().at(-1), at);
  const [alive, silent] = [workers.filter(isAlive), workers.filter((one) => !isAlive(one))];
  return html`<section class="card stack" aria-labelledby="month-title">
    <div class="spread"><h2 id="month-title">This month</h2><a href="#/operator/spending">Spending</a></div>
    <${Spent} usd=${month.spent_usd} budget=${month.budget_usd} />
    <${Meter} taken=${month.spent_usd + month.reserved_usd} budget=${month.budget_usd} label="Spent and reserved of all budgets" />
    <dl class="facts">
      <dt>Reserved</dt><dd class="number">${dollars(month.reserved_usd)}</dd>
      ${month.budget_usd === null && html`<dt>Budget</dt><dd>Not every project has one. <a href="#/operator/projects">Set them</a></dd>`}
      <dt>Workers</dt><dd>${alive.length ? `${alive.length} at work, seen ${lastSeen(alive)}` : html`<strong class="bad-word">None runs: start reelay worker</strong>`}${
        silent.length > 0 && `; ${silent.length} silent, last heard ${lastSeen(silent)}`}</dd>
      <dt>Webhooks</dt><dd><a href="#/operator/deliveries">${webhooks.owed ? `${webhooks.owed} owed` : "None owed"}</a>${
        webhooks.oldest_due_at && new Date(webhooks.oldest_due_at) < new Date(at) ? `, ${age(webhooks.oldest_due_at, at)} late` : ""}${
        webhooks.disabled_endpoints > 0 ? `, ${plural(webhooks.disabled_endpoints, "endpoint")} disabled` : ""}</dd>
    </dl></section>`;
}
