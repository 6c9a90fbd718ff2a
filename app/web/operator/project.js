// One project: its month, its limits, its keys, and its end.

import { html, useState } from "../shell/ui.js";
import { Limits, limitsOf } from "./limits.js";
import { Meter, Spent } from "./parts.js";
import { Read, usePolled } from "./polled.js";
import { dollars } from "../shell/money.js";
import { FormDialog } from "./dialogs.js";
import { Keys } from "./keys.js";
import { moment } from "../shell/words.js";
import { plural } from "./words.js";
import { toast } from "../shell/toasts.js";

export function Project({ api, id }) {
  const path = `/v1/admin/projects/${encodeURIComponent(id)}`;
  const polled = usePolled(async (call) => {
    const [project, keys] = await Promise.all([api.request("GET", path, call), api.request("GET", `${path}/keys`, { query: { limit: 100 }, ...call })]);
    return { project, keys };
  }, [path]);
  const [asked, setAsked] = useState("");
  const done = () => { setAsked(""); polled.again(); };
  const change = async (fields) => {
    await api.request("PATCH", path, { body: limitsOf(fields, { all: true }) });
    toast("Saved. It counts from now on.");
  };
  const archive = async () => {
    const { canceled_jobs: canceled } = await api.request("POST", `${path}/archive`);
    toast(`Archived${canceled ? `, and ${plural(canceled, "queued job")} canceled` : ""}.`);
  };
  return html`<p class="small"><a href="#/operator/projects">All projects</a></p>
    <h1 tabindex="-1">${polled.data?.project.name ?? "Project"}</h1>
    <${Read} of=${polled} lines=${8}>${({ project, keys }) => html`
      <div class="halves">
        <${Standing} project=${project} onChange=${() => setAsked("limits")} onArchive=${() => setAsked("archive")} />
        <${Keys} api=${api} path=${path} keys=${keys} isOpen=${!project.archived_at} onChange=${polled.again} /></div>
      ${asked === "limits" && html`<${FormDialog} title="Limits" verb="Save" onSend=${change} onClose=${done}>${(wrong) => html`<${Limits} of=${project} wrong=${wrong} />`}<//>`}
      ${asked === "archive" && html`<${FormDialog} title=${`Archive ${project.name}?`} verb="Archive" danger onSend=${archive} onClose=${done}>
        <p>For good: it makes no more jobs, and those in line are canceled. What was bought is finished and can still be fetched.</p><//>`}`}<//>`;
}

function Standing({ project, onChange, onArchive }) {
  const { month, monthly_budget_usd: budget } = project;
  const limit = (value, unit = "") => (value == null ? html`<span class="quiet">no limit</span>` : `${value}${unit}`);
  return html`<section class="card stack" aria-labelledby="standing-title">
    <div class="spread"><h2 id="standing-title">This month</h2>${project.archived_at && html`<span class="badge warn">Archived ${moment(project.archived_at)}</span>`}</div>
    <${Spent} usd=${month.spent_usd} budget=${budget}>, ${plural(month.jobs, "job")}<//>
    <${Meter} taken=${month.spent_usd + month.reserved_usd} budget=${budget} />
    <dl class="facts"><dt>Reserved</dt><dd class="number">${dollars(month.reserved_usd)}</dd>
      <dt>Budget</dt><dd class="number">${budget === null ? limit(null) : `${dollars(budget)} a month`}</dd>
      <dt>At a time</dt><dd>${limit(project.max_in_flight, " videos")}</dd>
      <dt>Requests</dt><dd>${limit(project.requests_per_minute, " a minute")}</dd>
      <dt>Models</dt><dd>${project.models?.length ? project.models.join(", ") : html`<span class="quiet">all</span>`}</dd>
      <dt>Made</dt><dd>${moment(project.created_at)}</dd><dt>Id</dt><dd><code>${project.id}</code></dd></dl>
    ${!project.archived_at && html`<div class="row"><button type="button" class="button" onClick=${onChange}>Change limits…</button>
      <button type="button" class="button danger" onClick=${onArchive}>Archive…</button></div>`}
  </section>`;
}
