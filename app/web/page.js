// The page: who is signed in, and what happens between the form, the stage and the list.

import { call, signedIn, signIn, signOut } from "./api.js";
import { $, say, simulated } from "./dom.js";
import * as form from "./form.js";
import * as stage from "./job.js";
import * as recent from "./recent.js";

$("mode").textContent = simulated ? "Sandbox" : "Real money";
$("mode").title = simulated ? "Videos are simulated and free." : "Every video is charged.";
$("mode").dataset.mode = simulated ? "sandbox" : "real";
$("key-hint").textContent = simulated ? "The development key was printed when Reelay started." : "";

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("");
  try {
    signIn($("key").value.trim(), { keep: $("keep").checked });
    await enter();
    $("key").value = "";
    $("prompt").focus({ preventScroll: true });
  } catch (error) {
    signOut();
    tell(error.message);
  }
});
$("sign-out").addEventListener("click", () => {
  signOut();
  location.replace(location.pathname); // afresh: nothing of this key's jobs stays on the page
});
document.addEventListener("signed-out", (event) => close(event.detail));

async function enter() {
  const models = await call("v1/models");
  await recent.load({ onOpen: open });
  form.start(models.data.data, { onMade: (job, still) => open(job, { still }) });
  show({ inside: true });
  const wanted = location.hash.slice(1);
  if (wanted.startsWith("job_")) {
    const answer = await call(`v1/jobs/${encodeURIComponent(wanted)}`).catch(() => null);
    if (answer) open(answer.data, { scroll: false });
  }
}

function open(job, { still = null, scroll = true } = {}) {
  stage.watch(job, { still, onChange: recent.put });
  recent.select(job.id);
  if (scroll) $("job").scrollIntoView({ block: "nearest" });
}

function close(reason) {
  signOut();
  stage.leave();
  recent.clear();
  show({ inside: false });
  tell(reason);
  $("key").focus();
}

function show({ inside }) {
  $("studio").hidden = $("sign-out").hidden = !inside;
  $("door").hidden = inside;
}

function tell(message) {
  say($("key-error"), message);
  $("key").setAttribute("aria-invalid", String(Boolean(message)));
}

if (signedIn()) {
  enter().catch((error) => {
    show({ inside: false });
    tell(error.message);
  });
} else {
  show({ inside: false });
}
