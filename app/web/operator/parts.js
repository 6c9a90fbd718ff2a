// Small pieces of the operator's view.

import { html } from "../shell/ui.js";
import { dollars } from "../shell/money.js";

/** How much of a budget is gone, as a bar; nothing where there is no budget. */
export const Meter = ({ taken, budget, label = "Spent and reserved of the budget" }) => budget !== null && html`
  <meter min="0" max=${budget || 0.01} high=${budget * 0.9} optimum="0" value=${taken} aria-label=${label}></meter>`;

/** What was spent, and of how much. */
export const Spent = ({ usd, budget, children }) => html`<p><strong class="amount number">${dollars(usd)}</strong> <span class="quiet">spent${budget !== null && ` of ${dollars(budget)}`}${children}</span></p>`;

/** Turns pages of a list: the newest, and older ones. `place` is what the list was asked to begin after. */
export function Pager({ page, place, onTurn }) {
  if (!place && !page.has_more) return null;
  return html`<div class="row">
    <button type="button" class="button small" aria-disabled=${!place} onClick=${() => place && onTurn("")}>Newest</button>
    <button type="button" class="button small" aria-disabled=${!page.has_more} onClick=${() => page.has_more && onTurn(page.last_id)}>Older</button></div>`;
}
