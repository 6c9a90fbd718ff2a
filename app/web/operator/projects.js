// All projects with what they spent and may spend, and a new one.

import { Empty, html, useState } from "../shell/ui.js";
import { Meter, Pager } from "./parts.js";
import { Read, usePolled } from "./polled.js";
import { dollars } from "../shell/money.js";
import { FormDialog } from "./dialogs.js";
import { Limits, limitsOf } from "./limits.js";
import { plural } from "./words.js";

const limits = ({ monthly_budget_usd: budget, max_in_flight: places, requests_per_minute: rate, models }) =>
  [budget === null && "no budget", places && `${places} at a time`, rate && `${plural(rate, "request")} a minute`, models?.length && plural(models.length, "model")].filter(Boolean).join(" · ");

export function Projects({ api }) {
  const [archived, setArchived] = useState(false);
  const [place, setPlace] = useState("");
  const [asking, setAsking] = useState(false);
  const query = { archived, limit: 20, ...(place && { after: place }) };
  const polled = usePolled((call) => api.request("GET", "/v1/admin/projects", { query, ...call }), [archived, place]);
  return html`<div class="spread"><h1 tabindex="-1">Projects and keys</h1><button type="button" class="main" onClick=${() => setAsking(true)}>New project…</button></div>
    <div class="tick"><input id="archived" type="checkbox" checked=${archived} onChange=${() => { setPlace(""); setArchived(!archived); }} /><label for="archived">Archived projects</label></div>
    <${Read} of=${polled} lines=${6}>${(page) => html`
      ${page.data.length ? html`<ul class="cards">${page.data.map((project) => html`<li key=${project.id}><${Card} project=${project} /></li>`)}</ul>`
        : html`<${Empty} title=${archived ? "No project is archived." : "No project yet."}>${!archived && html`<p>A project owns jobs, keys, limits and a budget: make one for each team.</p>`}<//>`}
      <${Pager} page=${page} place=${place} onTurn=${setPlace} />`}<//>
    ${asking && html`<${Create} api=${api} onClose=${() => setAsking(false)} />`}`;
}

function Card({ project }) {
  const { month, monthly_budget_usd: budget } = project;
  return html`<a class="card stack" href=${`#/operator/projects/${encodeURIComponent(project.id)}`}>
    <strong class="clip">${project.name}</strong>
    <span class="spread"><span class="number">${dollars(month.spent_usd)}${budget !== null && html` <span class="quiet">of ${dollars(budget)}</span>`}</span><span class="small quiet">${plural(month.jobs, "job")}</span></span>
    <${Meter} taken=${month.spent_usd + month.reserved_usd} budget=${budget} />
    <span class="small quiet">${limits(project) || "\u00a0"}</span></a>`;
}

function Create({ api, onClose }) {
  const create = async (fields) => {
    const made = await api.request("POST", "/v1/admin/projects", { body: { name: fields.name.trim(), ...limitsOf(fields) } });
    location.hash = `#/operator/projects/${encodeURIComponent(made.id)}`;
  };
  return html`<${FormDialog} title="New project" verb="Create" onSend=${create} onClose=${onClose}>${(wrong) => html`<${Limits} of=${{}} wrong=${wrong} isNew />`}<//>`;
}
