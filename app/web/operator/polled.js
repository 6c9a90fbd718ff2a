// What changes by itself: read anew every few seconds while somebody looks, and not at all while the page is hidden.

import { Failed, html, Loading, useEffect, useRef, useState } from "../shell/ui.js";

/**
 * Like useLoaded, again and again: `{data, error, again}`. What was read stays when a later reading fails, and until what
 * was asked for next is there.
 */
export function usePolled(load, keys, seconds = 5) {
  const [state, set] = useState({});
  const read = useRef(() => {});
  useEffect(() => {
    const call = new AbortController();
    const { signal } = call;
    let timer;
    let isFirst = true;
    let turn = 0; // an answer that was asked for before the last change is old
    const look = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      const mine = ++turn;
      const now = () => !signal.aborted && mine === turn;
      try {
        const data = await load({ signal });
        if (now()) set({ data });
      } catch (error) {
        if (now()) set((before) => ({ data: isFirst ? undefined : before.data, error }));
      }
      isFirst = false;
      if (now()) timer = setTimeout(look, seconds * 1000);
    };
    read.current = look;
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      call.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, keys);
  return { ...state, again: () => read.current() };
}

/** Shows what was read with `children`, a function; before that its place, and beside it why a reading failed. */
export const Read = ({ of, lines, children }) => html`
  ${of.error && html`<${Failed} error=${of.error} again=${of.again} />`}
  ${of.data ? children(of.data) : !of.error && html`<${Loading} lines=${lines} />`}`;
