import { html } from "../shell/ui.js";
export const title = "Job";
export const View = ({ parameters }) => html`<h1 tabindex="-1">${parameters.id}</h1>`;
