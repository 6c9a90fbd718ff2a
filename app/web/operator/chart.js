// A month's spending as a picture: so far beside the budget, or day by day. Read with the pointer or the arrow keys.

import { html, useEffect, useId, useRef, useState } from "../shell/ui.js";
import { dollars } from "../shell/money.js";
import { SHORT_DAY } from "./words.js";

const HEIGHT = 260;
const EDGE = { top: 16, right: 8, bottom: 28, left: 60 };
const FAR = 5; // a budget this many times above what was spent would make it a flat line
const TIP = { width: 172, height: 62 };

/** Round steps for an axis up to `most`. */
function steps(most) {
  const rough = Math.max(most, 0.01) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((size) => size * power).find((size) => size >= rough - power * 1e-9);
  return Array.from({ length: Math.max(1, Math.ceil(most / step - 1e-9)) + 1 }, (_, index) => index * step);
}

function useWidth(place) {
  const [width, set] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([{ contentRect }]) => set(Math.round(contentRect.width)));
    watch.observe(place.current);
    return () => watch.disconnect();
  }, []);
  return width;
}

/** `days` are those that have begun: `{at, usd, sum}`. `count` is how many the month has. */
export function Chart({ days, count, budget, isSum, label }) {
  const place = useRef();
  const hint = useId();
  const [seen, setSeen] = useState(null);
  const [isFocused, setFocused] = useState(false);
  const width = useWidth(place);
  const last = days.length - 1;
  const at = Math.min(seen ?? last, last);
  const valueOf = (day) => (isSum ? day.sum : day.usd);
  const most = Math.max(...days.map(valueOf));
  const line = isSum ? budget : null;
  const isFar = line !== null && line > most * FAR;
  const ticks = steps(Math.max(most, isFar || line === null ? 0 : line * 1.04));
  const inner = Math.max(0, width - EDGE.left - EDGE.right);
  const floor = HEIGHT - EDGE.bottom;
  const y = (usd) => floor - (usd / ticks.at(-1)) * (floor - EDGE.top);
  const x = (index) => EDGE.left + ((index + 0.5) * inner) / count;
  const words = (day) => `${SHORT_DAY.format(day.at)}: ${dollars(day.usd)} that day, ${dollars(day.sum)} so far`;
  const keys = (event) => {
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setSeen(Math.min(last, Math.max(0, to)));
  };
  const point = (event) => {
    const across = event.clientX - place.current.getBoundingClientRect().left - EDGE.left;
    setSeen(Math.min(last, Math.max(0, Math.floor((across / inner) * count))));
  };
  return html`<div class="chart" ref=${place} role="slider" tabindex="0" aria-label=${`${label}. Day shown`} aria-describedby=${hint}
      aria-valuemin="1" aria-valuemax=${days.length} aria-valuenow=${at + 1} aria-valuetext=${words(days[at])}
      onKeyDown=${keys} onPointerMove=${point} onPointerDown=${point} onPointerLeave=${() => setSeen(isFocused ? at : null)}
      onFocus=${() => { setFocused(true); setSeen(at); }} onBlur=${() => { setFocused(false); setSeen(null); }}>
    <svg width=${width} height=${HEIGHT} aria-hidden="true">
      ${ticks.map((usd) => html`<line class="grid" x1=${EDGE.left} x2=${width - EDGE.right} y1=${y(usd)} y2=${y(usd)} />
        <text x=${EDGE.left - 8} y=${y(usd) + 4} text-anchor="end">${ticks.at(-1) < 4 ? dollars(usd) : `$${usd.toLocaleString("en-US")}`}</text>`)}
      ${days.map((day, index) => index % (width < 560 ? 7 : 3) === 0 && html`<text x=${x(index)} y=${HEIGHT - 8} text-anchor="middle">${SHORT_DAY.format(day.at)}</text>`)}
      ${isSum ? html`<${Sum} days=${days} x=${x} y=${y} floor=${floor} />`
        : days.map(({ usd }, index) => usd > 0 && html`<rect class="bar-of" data-seen=${index === seen ? "yes" : undefined} x=${x(index) - inner / count * 0.35} width=${inner / count * 0.7} y=${Math.min(y(usd), floor - 1)} height=${Math.max(1, floor - y(usd))} rx="2" />`)}
      ${line !== null && html`<line class="budget" x1=${EDGE.left} x2=${width - EDGE.right} y1=${isFar ? EDGE.top - 8 : y(line)} y2=${isFar ? EDGE.top - 8 : y(line)} />
        <text class="budget-name" x=${width - EDGE.right} y=${isFar ? EDGE.top + 8 : y(line) + 16} text-anchor="end">Budget ${dollars(line)}${isFar && ", far above ↑"}</text>`}
      ${seen !== null && width > 0 && html`<${Tip} day=${days[at]} x=${x(at)} y=${y(valueOf(days[at]))} floor=${floor} width=${width} />`}
    </svg><p class="unseen" id=${hint}>The arrow keys go from day to day. A table follows.</p></div>`;
}

function Sum({ days, x, y, floor }) {
  const path = days.map((day, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(day.sum).toFixed(1)}`).join("");
  return html`<path class="area" d=${`${path}L${x(days.length - 1)} ${floor}L${x(0)} ${floor}Z`} /><path class="sum" d=${path} />
    <circle class="dot" cx=${x(days.length - 1)} cy=${y(days.at(-1).sum)} r="4" />`;
}

function Tip({ day, x, y, floor, width }) {
  const left = Math.max(0, Math.min(width - TIP.width, x + 10 + TIP.width > width ? x - TIP.width - 10 : x + 10));
  const top = Math.max(0, Math.min(floor - TIP.height - 4, y - TIP.height / 2));
  return html`<line class="reading" x1=${x} x2=${x} y1=${EDGE.top} y2=${floor} /><circle class="dot" cx=${x} cy=${y} r="4" />
    <g class="tip" transform=${`translate(${left} ${top})`}><rect width=${TIP.width} height=${TIP.height} rx="8" />
      <text x="12" y="19" class="tip-day">${SHORT_DAY.format(day.at)}</text><text x="12" y="36">That day ${dollars(day.usd)}</text><text x="12" y="52">So far ${dollars(day.sum)}</text></g>`;
}
