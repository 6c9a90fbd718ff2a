// Webhook deliveries of all projects: what got through, what is owed, what was given up, and sending again.

import { Empty, Field, html, useState } from "../shell/ui.js";
import { Read, usePolled } from "./polled.js";
import { ago, plural, until } from "./words.js";
import { moment } from "../shell/words.js";
import { Pager } from "./parts.js";
import { toast } from "../shell/toasts.js";

const STATES = { owed: ["Owed", "warn"], delivered: ["Delivered", "good"], failed: ["Given up", "bad"] };

export function Deliveries({ api, name }) {
  const [state, setState] = useState("");
  const [project, setProject] = useState("");
  const [place, setPlace] = useState("");
  const names = usePolled(async (call) => (await api.request("GET", "/v1/admin/projects", { query: { limit: 100 }, ...call })).data, [], 60).data ?? [];
  const query = { limit: 20, ...(state && { state }), ...(project && { project_id: project }), ...(place && { after: place }) };
  const polled = usePolled((call) => api.request("GET", "/v1/admin/deliveries", { query, ...call }), [state, project, place]);
  const select = (label, value, set, options) => html`<${Field} label=${label}>${(tied) => html`<select ...${tied} value=${value} onChange=${({ target }) => { setPlace(""); set(target.value); }}>
    <option value="">All</option>${options.map(([id, word]) => html`<option value=${id}>${word}</option>`)}</select>`}<//>`;
  const again = async (delivery) => {
    try {
      await api.request("POST", `/v1/admin/deliveries/${encodeURIComponent(delivery.id)}/redeliver`);
      toast("It is sent again, in a moment.");
    } catch (error) {
      toast(error.message, "bad");
    }
    polled.again();
  };
  return html`<h1 tabindex="-1">${name}</h1>
    <form class="filters" aria-label="Filters" onSubmit=${(event) => event.preventDefault()}>
      ${select("State", state, setState, Object.entries(STATES).map(([id, [word]]) => [id, word]))}
      ${select("Project", project, setProject, names.map((one) => [one.id, one.name]))}</form>
    <${Read} of=${polled} lines=${6}>${(page) => html`
      ${page.data.length ? html`<ul class="rows card">${page.data.map((delivery) => html`<li key=${delivery.id}>
          <${Delivery} delivery=${delivery} project=${names.find(({ id }) => id === delivery.project_id)?.name ?? delivery.project_id} onAgain=${() => again(delivery)} /></li>`)}</ul>`
        : html`<${Empty} title=${state || project ? "Nothing matches." : "No webhook was sent yet."}><p>${state || project ? "Change the filters." : "Each event that a project’s endpoints are told of appears here, with every attempt."}</p><//>`}
      <${Pager} page=${page} place=${place} onTurn=${setPlace} />`}<//>`;
}

function Delivery({ delivery, project, onAgain }) {
  const [word, tone] = STATES[delivery.status] ?? [delivery.status, ""];
  const isOwed = delivery.status === "owed"; // it is sent anyhow
  const last = delivery.attempts.at(-1);
  const outcome = (attempt) => attempt.error ?? `answered ${attempt.status_code}`;
  const next = delivery.next_attempt_at && `next try ${until(delivery.next_attempt_at)}`;
  return html`<div class="grow"><p class="clip"><strong>${delivery.event_type}</strong> <span class="quiet">to</span> ${delivery.host}</p>
      <p class="small quiet">${[project, ago(delivery.created_at), last && outcome(last).replace(/\.$/, ""), next].filter(Boolean).join(" · ")}</p>
      <details class="more"><summary>${plural(delivery.attempts.length, "attempt")}</summary>
        <dl class="facts"><dt>Event</dt><dd><code>${delivery.event_id}</code></dd>${delivery.job_id && html`<dt>Job</dt><dd><code>${delivery.job_id}</code></dd>`}
          ${delivery.attempts.map((attempt) => html`<dt>${moment(attempt.started_at)}</dt><dd>${outcome(attempt)}, ${attempt.duration_ms} ms</dd>`)}</dl></details></div>
    <span class=${`badge ${tone}`}>${word}</span>
    <button type="button" class="button small" aria-disabled=${isOwed} aria-label=${`Send again: ${delivery.event_type}, ${ago(delivery.created_at)}`} onClick=${() => isOwed || onAgain()}>Send again</button>`;
}
