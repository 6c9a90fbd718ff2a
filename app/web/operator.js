// The operator's view.

import { Empty, html } from "./shell/ui.js";

export const title = "Operator";

export const View = () => html`<h1 tabindex="-1">Operator</h1><${Empty} title="Not built yet." />`;
