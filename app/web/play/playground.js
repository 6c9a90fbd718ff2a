import { html } from "../shell/ui.js";
export const title = "Playground";
export const View = () => html`<h1 tabindex="-1">Playground</h1>`;
