// The operator's view: its parts, each at an address of its own.

import { html, useEffect, useRef } from "../shell/ui.js";
import { Deliveries } from "./deliveries.js";
import { Overview } from "./overview.js";
import { Project } from "./project.js";
import { Projects } from "./projects.js";
import { Spending } from "./spending.js";

const PARTS = [
  { at: "", name: "Overview", Part: Overview },
  { at: "spending", name: "Spending", Part: Spending },
  { at: "projects", name: "Projects", Part: Projects, One: Project },
  { at: "deliveries", name: "Webhooks", Part: Deliveries },
];
const placeOf = ({ rest }) => {
  const [at, id] = (rest ?? "").split("/");
  return { part: PARTS.find((part) => part.at === at) ?? PARTS[0], id: id && decodeURIComponent(id) };
};

export const title = (parameters) => placeOf(parameters).part.name;

/** Where a button goes away with what was done, the focus goes to the heading and not to nowhere. */
function keepFocus(place) {
  let last = null;
  const note = ({ target }) => { last = target; };
  const watch = new MutationObserver(() => {
    if (last?.isConnected === false && document.activeElement === document.body) place.querySelector("h1").focus({ preventScroll: true });
  });
  place.addEventListener("focusin", note);
  watch.observe(place, { childList: true, subtree: true });
  return () => watch.disconnect();
}

export function View({ api, parameters }) {
  const { part, id } = placeOf(parameters);
  const strip = useRef();
  useEffect(() => strip.current.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" }), []);
  useEffect(() => keepFocus(strip.current.parentElement), []);
  const Shown = id && part.One ? part.One : part.Part;
  return html`<div class="operator">
    <nav class="parts" aria-label="Operator" ref=${strip}>${PARTS.map(({ at, name }) => html`
      <a href=${at ? `#/operator/${at}` : "#/operator"} aria-current=${at === part.at ? "page" : undefined}>${name}</a>`)}</nav>
    <${Shown} api=${api} id=${id} name=${part.name} /></div>`;
}
