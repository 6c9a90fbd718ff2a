// What was spent in a month, beside the budgets: a chart, the same as a table, and who and what it went to.

import { Empty, html, useState } from "../shell/ui.js";
import { MONTH, plural, SHORT_DAY } from "./words.js";
import { Meter } from "./parts.js";
import { Read, usePolled } from "./polled.js";
import { Chart } from "./chart.js";
import { dollars } from "../shell/money.js";

const DAY = 86400e3;
const SECONDS = 30;
const date = (moment) => new Date(moment).toISOString().slice(0, 10);

/** The month so many months ago, in UTC, as the server counts: its first moment, and how many days it has. */
function month(back) {
  const now = new Date();
  const start = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1);
  const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back + 1, 1);
  return { start, count: Math.round((end - start) / DAY) };
}

async function read(api, back, { signal }) {
  const { start, count } = month(back);
  const usage = (group) => api.request("GET", "/v1/admin/usage", { query: { from: date(start), to: date(start + (count - 1) * DAY), group_by: group }, signal });
  const [days, projects, models, list] = await Promise.all([
    usage("day"), usage("project"), usage("model"), api.request("GET", "/v1/admin/projects", { query: { limit: 100 }, signal })]);
  const spent = new Map(days.data.map((row) => [row.group, row]));
  const begun = back ? count : new Date().getUTCDate();
  let sum = 0;
  const filled = Array.from({ length: begun }, (_, index) => {
    const { charged_usd: usd = 0, jobs = 0 } = spent.get(date(start + index * DAY)) ?? {};
    return { at: start + index * DAY, usd, jobs, sum: (sum += usd) };
  });
  const budgets = new Map(list.data.map((project) => [project.id, project.monthly_budget_usd]));
  return { start, days: filled, count, total: days.total, projects: projects.data, models: models.data, budgets, budget: days.month.budget_usd };
}

export function Spending({ api, name }) {
  const [back, setBack] = useState(0);
  const [isSum, setSum] = useState(true);
  const polled = usePolled((call) => read(api, back, call), [back], SECONDS);
  const called = MONTH.format(polled.data?.start ?? month(back).start);
  return html`<h1 tabindex="-1">${name}</h1>
    <section class="card stack" aria-labelledby="month-name">
      <div class="spread"><h2 id="month-name" aria-live="polite">${called}</h2>
        <div class="row"><button type="button" class="button small" onClick=${() => setBack(back + 1)}>Earlier</button>
          <button type="button" class="button small" aria-disabled=${!back} onClick=${() => back && setBack(back - 1)}>Later</button></div></div>
      <div class="tall"><${Read} of=${polled} lines=${8}>${({ days, count, total, budget }) => html`
        <div class="spread"><p><strong class="amount number">${dollars(total.charged_usd)}</strong> <span class="quiet">${budget !== null && `of ${dollars(budget)}, `}${plural(total.jobs, "job")}${
          total.open_usd > 0 && `, ${dollars(total.open_usd)} more under way`}</span></p>
          <div class="pills" role="radiogroup" aria-label="Chart">${[["So far", true], ["By day", false]].map(([word, value]) => html`
            <label><input class="unseen" type="radio" name="chart" checked=${isSum === value} onChange=${() => setSum(value)} /><span>${word}</span></label>`)}</div></div>
        ${total.jobs ? html`<${Chart} days=${days} count=${count} budget=${budget} isSum=${isSum} label=${`Spending in ${called}`} />` : html`<${Empty} title="No job in this month."><p>What is spent appears here day by day.</p><//>`}
        <details class="more"><summary>As a table</summary><table><thead><tr><th scope="col">Day</th><th scope="col">Jobs</th><th scope="col">Spent</th><th scope="col">So far</th></tr></thead>
          <tbody class="number">${days.map(({ at, jobs, usd, sum }) => html`<tr><th scope="row">${SHORT_DAY.format(at)}</th><td>${jobs}</td><td>${dollars(usd)}</td><td>${dollars(sum)}</td></tr>`)}</tbody></table></details>
        <p class="small quiet">Days and months in UTC; a job counts when it was made. Budgets are those set now.</p>`}<//></div>
    </section>
    ${polled.data && html`<div class="halves">
      <${Shares} title="By project" rows=${polled.data.projects} most=${(row) => polled.data.budgets.get(row.group) ?? null} />
      <${Shares} title="By model" rows=${polled.data.models} most=${() => null} /></div>`}`;
}

/** Rows with a bar each: of its budget where there is one, else of the dearest. */
function Shares({ title, rows, most }) {
  const dearest = Math.max(...rows.map(({ charged_usd: usd }) => usd), 0.01);
  return html`<section class="card stack"><h2>${title}</h2>
    ${rows.length ? html`<ul class="rows">${rows.map((row) => {
      const limit = most(row);
      return html`<li key=${row.group}><div class="grow"><div class="spread"><span class="clip">${row.name ?? row.group ?? "None"}</span><span class="number">${dollars(row.charged_usd)}${limit !== null && html` <span class="quiet">of ${dollars(limit)}</span>`}</span></div>
        ${limit === null ? html`<progress max=${dearest} value=${row.charged_usd} aria-hidden="true"></progress>` : html`<${Meter} taken=${row.charged_usd} budget=${limit} label=${`${row.name}: spent of its budget`} />`}</div></li>`;
    })}</ul>` : html`<p class="quiet">Nothing yet.</p>`}</section>`;
}
