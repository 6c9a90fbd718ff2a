// Speaks with Reelay. Holds the key: in memory, or in this tab's storage if asked to.

const PLACE = "reelay-key";
let key = kept()?.getItem(PLACE) ?? "";

/** A request that was refused or got no answer; `status` is 0 without one, `param` names the field at fault. */
export class Refusal extends Error {
  constructor(status, { message, param = null }) {
    super(message);
    Object.assign(this, { status, param });
  }
}

/** Sends a request; returns `{data, etag}`, `data` being null for "not modified". Throws Refusal. */
export async function call(path, { headers = {}, ...options } = {}) {
  let response;
  try {
    headers = { Authorization: `Bearer ${key}`, ...headers };
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { message: "Reelay can’t be reached. Check the connection, then try again." });
  }
  const etag = response.headers.get("ETag");
  if (response.status === 304) return { data: null, etag };
  const data = await response.json().catch(() => null);
  if (response.ok && data) return { data, etag };
  const message = `Reelay answered ${response.status}. Try again in a moment.`;
  const refusal = new Refusal(response.status, data?.error ?? { message });
  if (response.status === 401) document.dispatchEvent(new CustomEvent("signed-out", { detail: refusal.message }));
  throw refusal;
}

/** Takes a key into use. It is tried by the first call. */
export function signIn(secret, { keep }) {
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    throw new Refusal(401, { message: "This is no key: paste it whole, without spaces." });
  }
  key = secret;
  if (keep) kept()?.setItem(PLACE, secret);
}

export function signOut() {
  key = "";
  kept()?.removeItem(PLACE);
}

export const signedIn = () => key !== "";

/** Where a key may be kept; nowhere if the browser forbids it. */
function kept() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}
