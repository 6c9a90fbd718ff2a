// The playground: a form, and beside it what becomes of it.

import { PREFERRED, stage, takeUp, useDraft } from "./draft.js";
import { Actions, Screen, StateLine } from "../shell/job-parts.js";
import { Empty, Failed, html, Loading, useLoaded, useRef } from "../shell/ui.js";
import { imageFieldOf, properties } from "./fields.js";
import { put, useJob } from "../shell/live.js";
import { toast } from "../shell/toasts.js";
import { Form } from "./form.js";
import { lastFrame } from "./media.js";
import { Tile } from "../gallery/tile.js";
import { useModels } from "../shell/catalogue.js";

export const title = "Playground";

export function View({ api }) {
  const models = useModels(api);
  useDraft();
  const { ids, still } = stage;
  return html`<h1 class="unseen" tabindex="-1">Playground</h1>
    ${models.error && html`<${Failed} ...${models} />`}
    <div class="studio">
      ${models.data ? html`<${Form} api=${api} models=${models.data} />` : !models.error && html`<div class="card"><${Loading} lines=${9} /></div>`}
      <section class="results" aria-label="Your video">
        ${ids.length === 0
          ? html`<div class="card"><div class="screen blank"><${Empty} title="Your video appears here.">
              <p>A picture and a prompt are ready: make the video, or bring your own.</p><//></div></div>`
          : html`<div class=${ids.length > 1 ? "many" : ""}>${ids.map((id) => html`<${Result} key=${id} id=${id} still=${still} models=${models.data ?? []} isOne=${ids.length === 1} />`)}</div>`}
        <${Recent} api=${api} without=${ids} />
      </section>
    </div>`;
}

function Result({ id, still, models, isOne }) {
  const job = useJob(id);
  const video = useRef();
  if (!job) return null;
  return html`<article class="card stack result" data-state=${job.state} aria-label=${job.input?.prompt ?? "Video"}>
    <${Screen} job=${job} still=${still} video=${video} />
    <div><${StateLine} job=${job} /></div>
    ${isOne && html`<p class="quote">${job.input?.prompt}</p>`}
    <${Actions} job=${job} video=${video} isBrief=${!isOne} onAgain=${again} onExtend=${(one, element) => extend(models, one, element)} />
    <a class="small" href=${`#/jobs/${id}`}>${isOne ? "All about this job" : "More about this one"}</a>
  </article>`;
}

async function again(job) {
  await takeUp(job);
  toast("The form holds its request. Change it, then make it.");
  document.querySelector("#form textarea")?.focus();
}

/** Takes the last frame as the picture of the next video: of the same model if it takes one. */
export async function extend(models, job, video) {
  const picture = await (await lastFrame(video)).upload();
  const same = models.find(({ id, aliases }) => id === job.model || aliases.includes(job.model));
  const model = same && imageFieldOf(same) ? same : (models.find(({ id }) => id === PREFERRED) ?? models.find(imageFieldOf));
  const field = imageFieldOf(model);
  await takeUp({ ...job, model: model.id }, { also: { [field]: properties(model)[field].type === "array" ? [picture] : picture } });
  toast("The last frame is the new image. Say what happens next.");
  document.querySelector("#form textarea")?.focus();
}

/** The latest jobs, for whoever comes back. */
function Recent({ api, without }) {
  const { data, error, again: reload } = useLoaded(async (call) => {
    const page = await api.list({ limit: 9 }, call);
    for (const job of page.data) put(job);
    return page.data;
  }, [without.length]);
  if (error) return html`<${Failed} error=${error} again=${reload} />`;
  const others = (data ?? []).filter(({ id }) => !without.includes(id)).slice(0, 8);
  if (!others.length) return null;
  return html`<section class="stack"><div class="spread"><h2>Recent</h2><a href="#/gallery">All in the gallery</a></div>
    <ul class="tiles small-tiles">${others.map(({ id }) => html`<${Tile} key=${id} id=${id} />`)}</ul></section>`;
}
