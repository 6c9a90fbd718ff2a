// Who is signed in. The credential is kept in memory, or in this tab's storage if asked to.

import { Reelay } from "../../client.js";
import { storage } from "./page.js";

const PLACE = "reelay-key";
let credential = storage("sessionStorage")?.getItem(PLACE) ?? "";
let ended = () => {};

/** Speaks with Reelay, in the name of whoever is signed in. */
export const api = new Reelay({
  baseUrl: new URL("./", location.href),
  credential: ({ refused } = {}) => {
    if (refused) ended();
    return credential;
  },
});

export const isSignedIn = () => credential !== "";

/** The header for the few requests that are no JSON: bytes of files. */
export const authorization = () => ({ Authorization: `Bearer ${credential}` });

/** Takes a credential into use and returns what it is: `GET /v1/whoami`. Throws if it does not work. */
export async function signIn(secret, { keep }) {
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new Error("This is no key: paste it whole, without spaces.");
  credential = secret;
  try {
    const me = await whoAmI();
    if (keep) storage("sessionStorage")?.setItem(PLACE, secret);
    return me;
  } catch (error) {
    credential = "";
    throw error;
  }
}

export const whoAmI = () => api.request("GET", "/v1/whoami");

export function signOut() {
  credential = "";
  storage("sessionStorage")?.removeItem(PLACE);
}

/** Calls back when the credential is refused, which ends the session. */
export function onEnd(tell) {
  ended = tell;
}
