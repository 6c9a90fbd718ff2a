// The page: who is signed in, which view is shown, and the frame around it.
//
// How a view plugs in: ROUTES maps a pattern of the address after `#` to a function that imports the view's module. The
// module exports `View`, a Preact component, and `title`, a text (or a function of the parameters). The view gets
// `{api, me, parameters}`: the client (/client.js), what GET /v1/whoami said, and the named parts of the address. It starts
// with an `<h1 tabindex="-1">`, to which the focus goes when the route changes. `scope` hides a view from whoever lacks it.

import { applyTheme, ThemeButton } from "./shell/theme.js";
import { Door } from "./shell/door.js";
import { Failed, html, Loading, render, useEffect, useLayoutEffect, useState } from "./shell/ui.js";
import { simulated } from "./shell/page.js";
import { stop } from "./shell/live.js";
import { Toasts } from "./shell/toasts.js";
import { api, isSignedIn, onEnd, signOut, whoAmI } from "./shell/session.js";

const ROUTES = [
  { at: /^\/$/, href: "#/", name: "Playground", load: () => import("./play/playground.js") },
  { at: /^\/gallery$/, href: "#/gallery", name: "Gallery", load: () => import("./gallery/gallery.js") },
  { at: /^\/jobs\/(?<id>[^/]+)$/, load: () => import("./gallery/job-page.js") },
  { at: /^\/operator(\/(?<rest>.*))?$/, href: "#/operator", name: "Operator", scope: "admin", load: () => import("./operator/view.js") },
];
const EXPIRED = "This key or token does not work any more: it was revoked, or its time is over. Sign in again to go on; what you typed is kept.";

const here = () => location.hash.replace(/^#/, "").split("?")[0] || "/";

function found(path, me) {
  for (const route of ROUTES) {
    const match = route.at.exec(path);
    if (match && (!route.scope || me.scopes.includes(route.scope))) return { route, parameters: { ...match.groups } };
  }
  return null;
}

function Outlet({ path, me }) {
  const [shown, setShown] = useState({});
  const [error, setError] = useState(null);
  useEffect(() => {
    let wanted = true;
    const place = found(path, me);
    setError(null);
    if (!place) setShown({ path, Lost: true });
    place?.route.load().then(
      (module) => wanted && setShown({ path, module, ...place }),
      () => wanted && setError(new Error("This part of the page could not be loaded. Check the connection, then reload.")),
    );
    return () => { wanted = false; };
  }, [path]);
  useLayoutEffect(() => {
    if (!shown.path) return;
    const title = shown.module?.title;
    document.title = [typeof title === "function" ? title(shown.parameters) : title, "Reelay"].filter(Boolean).join(" · ");
    if (Outlet.last && Outlet.last !== shown.path) {
      scrollTo(0, 0);
      document.querySelector("main h1")?.focus({ preventScroll: true });
    }
    Outlet.last = shown.path;
  }, [shown.path]);
  if (error) return html`<${Failed} error=${error} />`;
  if (shown.Lost) return html`<h1 tabindex="-1">Nothing here</h1><p>There is no such view, or not for this key. <a href="#/">Back to the playground</a></p>`;
  if (!shown.module) return html`<${Loading} lines=${4} />`;
  return html`<${shown.module.View} key=${shown.path} api=${api} me=${me} parameters=${shown.parameters} />`;
}

function Frame({ me, path, onLeave, children }) {
  const views = me ? ROUTES.filter(({ href, scope }) => href && (!scope || me.scopes.includes(scope))) : [];
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("main h1")?.focus(); }}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="web/favicon.svg" alt="" width="28" height="28" />Reelay</a>
      ${me && html`<nav aria-label="Views">${views.map(({ href, name, at }) => html`
        <a href=${href} aria-current=${at.test(path) ? "page" : undefined}>${name}</a>`)}</nav>`}
      <span class="end">
        <span class=${simulated ? "badge" : "badge real"} title=${simulated ? "Videos are simulated and free." : "Every video is charged."}>${simulated ? "Sandbox" : "Real money"}</span>
        <${ThemeButton} />
        ${me && html`<button type="button" class="plain" onClick=${() => onLeave("")}>Sign out</button>`}
      </span>
    </header>
    ${me && simulated && html`<p class="ribbon">Sandbox: videos are simulated and free. Prices are what the real ones would cost.</p>`}
    <main id="main">${children}</main>`;
}

function App() {
  const [me, setMe] = useState(null);
  const [state, setState] = useState(isSignedIn() ? "entering" : "outside");
  const [reason, setReason] = useState("");
  const [path, setPath] = useState(here());
  const leave = (why) => {
    signOut();
    stop();
    onEnd(() => {});
    if (!why) return location.replace(location.pathname); // afresh: nothing of this key's jobs stays on the page
    setMe(null);
    setReason(why);
    setState("outside");
  };
  const enter = (who) => {
    setMe(who);
    setState("inside");
    onEnd(() => leave(EXPIRED));
  };
  useEffect(() => {
    const follow = () => setPath(here());
    addEventListener("hashchange", follow);
    if (state === "entering") whoAmI().then(enter, (error) => leave(error.message));
    return () => removeEventListener("hashchange", follow);
  }, []);
  return html`<${Frame} me=${me} path=${path} onLeave=${leave}>
      ${state === "outside" && html`<${Door} key=${reason} reason=${reason} onEnter=${enter} />`}
      ${state === "entering" && html`<${Loading} lines=${4} label="Signing in…" />`}
      ${state === "inside" && html`<${Outlet} path=${path} me=${me} />`}
    <//>
    <${Toasts} />`;
}

applyTheme();
// A file that misses its field must not replace the page.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
render(html`<${App} />`, document.getElementById("app"));
