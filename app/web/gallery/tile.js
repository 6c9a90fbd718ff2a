// A job as a small picture, which plays while it is pointed at or has the focus.

import { contentOf } from "../shell/job-parts.js";
import { hasEnded, headline } from "../shell/words.js";
import { html, useRef, useState } from "../shell/ui.js";
import { useJob } from "../shell/live.js";

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export function Tile({ id }) {
  const job = useJob(id);
  const [plays, setPlays] = useState(false);
  const [broken, setBroken] = useState(false);
  const link = useRef();
  if (!job) return null;
  const prompt = job.input?.prompt ?? job.model;
  const poster = job.video?.poster_url && !broken ? contentOf(job, job.video.poster_url) : null;
  const start = () => setPlays(Boolean(job.video) && !stillness.matches);
  const end = () => setPlays(link.current === document.activeElement && link.current.matches(":focus-visible"));
  return html`<li><a ref=${link} class="tile" href=${`#/jobs/${id}`} onMouseEnter=${start} onMouseLeave=${end} onFocus=${start} onBlur=${() => setPlays(false)}>
    <span class="thumb" data-state=${job.state}>
      ${poster && html`<img src=${poster} alt="" loading="lazy" onError=${() => setBroken(true)} />`}
      ${plays && html`<video src=${contentOf(job, job.video.url)} muted autoplay loop playsinline></video>`}
      ${!poster && html`<b>${headline(job)}</b>`}
      ${!hasEnded(job) && html`<i class="pulse"></i>`}
    </span>
    <span class="caption"><span class="unseen">${headline(job)}: </span>${prompt}</span>
  </a></li>`;
}
