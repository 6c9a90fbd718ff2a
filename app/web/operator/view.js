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
  { at: "projects", name: "Projects and keys", Part: Projects, One: Project },
  { at: "deliveries", name: "Webhooks", Part: Deliveries },
];
const placeOf = ({ rest }) => {
  const [at, id] = (rest ?? "").split("/");
  return { part: PARTS.find((part) => part.at === at) ?? PARTS[0], id: id && decodeURIComponent(id) };
};

export const title = (parameters) => placeOf(parameters).part.name;

export function View({ api, parameters }) {
  const { part, id } = placeOf(parameters);
  const strip = useRef();
  useEffect(() => strip.current.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" }), []);
  const Shown = id && part.One ? part.One : part.Part;
  return html`<div class="operator">
    <nav class="parts" aria-label="Operator" ref=${strip}>${PARTS.map(({ at, name }) => html`
      <a href=${at ? `#/operator/${at}` : "#/operator"} aria-current=${at === part.at ? "page" : undefined}>${name}</a>`)}</nav>
    <${Shown} api=${api} id=${id} name=${part.name} /></div>`;
}
