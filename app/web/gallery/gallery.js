// The gallery: all jobs that this credential sees, newest first, kept up to date.

import { Empty, Failed, Field, html, Loading, useEffect, useRef, useState } from "../shell/ui.js";
import { put, useNews } from "../shell/live.js";
import { Tile } from "./tile.js";
import { useModels } from "../shell/catalogue.js";

export const title = "Gallery";
const PAGE = 24;
const STATUSES = { "": "All", succeeded: "Ready", in_progress: "At work", queued: "Waiting", failed: "Failed", canceled: "Canceled" };
const NOTHING = { status: "", model: "", since: "", until: "" };
let kept = NOTHING; // whoever comes back from a job finds what was filtered

/** The filters as the API takes them. Days are those of this device; the last one counts whole. */
function query({ status, model, since, until }) {
  const start = (day, later = 0) => {
    const [year, month, date] = day.split("-").map(Number);
    return new Date(year, month - 1, date + later).toISOString();
  };
  return { limit: PAGE, ...(status && { status }), ...(model && { model }), ...(since && { created_after: start(since) }), ...(until && { created_before: start(until, 1) }) };
}

export function View({ api }) {
  const [filters, setFilters] = useState(kept);
  const set = (fields) => setFilters((kept = { ...filters, ...fields }));
  const models = useModels(api).data ?? [];
  const isFiltered = Object.values(filters).some(Boolean);
  const field = (label, name, control) => html`<${Field} label=${label}>${(tied) => control({ ...tied, value: filters[name], onChange: ({ target }) => set({ [name]: target.value }) })}<//>`;
  return html`<h1 tabindex="-1">Gallery</h1>
    <form class="filters" aria-label="Filters" onSubmit=${(event) => event.preventDefault()}>
      ${field("Status", "status", (tied) => html`<select ...${tied}>${Object.entries(STATUSES).map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select>`)}
      ${field("Model", "model", (tied) => html`<select ...${tied}><option value="">All</option>${models.map(({ id }) => html`<option value=${id}>${id}</option>`)}</select>`)}
      ${field("Since", "since", (tied) => html`<input type="date" ...${tied} />`)}
      ${field("Until", "until", (tied) => html`<input type="date" ...${tied} />`)}
      ${isFiltered && html`<button type="button" class="button" onClick=${() => set(NOTHING)}>Clear</button>`}
    </form>
    <${List} key=${JSON.stringify(filters)} api=${api} filters=${filters} isFiltered=${isFiltered} />`;
}

function List({ api, filters, isFiltered }) {
  const [state, setState] = useState({ ids: [], more: true, busy: false, error: null });
  const now = useRef(state);
  const newest = useRef(null);
  const end = useRef();
  const change = (fields) => setState((now.current = { ...now.current, ...fields }));
  const load = async () => {
    const { ids, more, busy, last } = now.current;
    if (!more || busy) return;
    change({ busy: true, error: null });
    try {
      const page = await api.list({ ...query(filters), ...(last && { after: last }) });
      newest.current ??= page.data[0]?.created_at ?? "";
      change({ ids: [...new Set([...ids, ...page.data.map(({ id }) => id)])], last: page.last_id, more: page.has_more, busy: false });
      for (const job of page.data) put(job);
    } catch (error) {
      change({ busy: false, error });
    }
  };
  useEffect(() => { load(); }, []);
  useEffect(() => {
    // Anew for each page: an end that stays in sight is news only to a new observer.
    const watch = new IntersectionObserver(([seen]) => seen.isIntersecting && now.current.ids.length && load(), { rootMargin: "400px" });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [state.ids.length]);
  useNews((job) => {
    const { ids } = now.current;
    if (job.deleted) return change({ ids: ids.filter((id) => id !== job.id) });
    const fits = (!filters.status || filters.status === job.status) && (!filters.model || filters.model === job.model) && !filters.until;
    if (newest.current === null || ids.includes(job.id) || !fits || job.created_at <= newest.current) return undefined;
    newest.current = job.created_at;
    return change({ ids: [job.id, ...ids] });
  });
  const { ids, more, busy, error } = state;
  const isEmpty = !ids.length && !more && !error;
  return html`
    ${isEmpty && isFiltered && html`<${Empty} title="Nothing matches."><p>Change the filters, or clear them.</p><//>`}
    ${isEmpty && !isFiltered && html`<${Empty} title="Nothing here yet."><p>What you make is kept here.</p><a class="main" href="#/">Make the first video</a><//>`}
    <ul class="tiles">${ids.map((id) => html`<${Tile} key=${id} id=${id} />`)}
      ${busy && !ids.length && Array.from({ length: 8 }, () => html`<li><span class="thumb bone"></span></li>`)}</ul>
    ${error && html`<${Failed} error=${error} again=${load} />`}
    <div ref=${end} class="more-line">${more && ids.length > 0 && html`<button type="button" class="button" onClick=${load}>${busy ? "Loading…" : "Load more"}</button>`}</div>`;
}
