import { html } from "../shell/ui.js";
export const title = "Gallery";
export const View = () => html`<h1 tabindex="-1">Gallery</h1>`;
