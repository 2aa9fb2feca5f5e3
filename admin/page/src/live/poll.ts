// Questions that are asked again and again while somebody looks.

import { effect } from "@preact/signals";
import { isLive } from "./store";

/**
 * poll calls ask every so many ms, never twice at a time, and not while the page is hidden or
 * Breakwater is not there; it begins again at once when that is over. The function that it
 * returns ends it.
 */
export function poll(every: number, ask: (signal: AbortSignal) => Promise<void>): () => void {
  const abort = new AbortController();
  let timer = 0;
  let asking = false;

  const run = async () => {
    clearTimeout(timer);
    if (asking || abort.signal.aborted || document.hidden || !isLive()) return;
    asking = true;
    const begun = performance.now();
    try {
      await ask(abort.signal);
    } finally {
      asking = false;
    }
    if (!abort.signal.aborted) timer = window.setTimeout(() => void run(), Math.max(50, every - (performance.now() - begun)));
  };
  const shown = () => void run();
  document.addEventListener("visibilitychange", shown);
  const stop = effect(() => {
    if (isLive()) void run();
  });
  return () => {
    abort.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", shown);
    stop();
  };
}
