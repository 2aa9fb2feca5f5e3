// Questions that are asked again and again while somebody looks.

import { computed, effect, signal, type ReadonlySignal } from "@preact/signals";
import { now } from "./clock";
import { isLive } from "./store";

/** slack is how much older, in ms, an answer may be than the time between two questions before it is late, and how long one may take before it is slow. */
const slack = 3_000;

export interface Poll {
  /** late: what was answered last is so old that it is no longer what is. */
  readonly late: ReadonlySignal<boolean>;
  /** slow: it is late because the answer that is awaited does not come; not because nothing was asked while nobody looked. */
  readonly slow: ReadonlySignal<boolean>;
  /** error is why the last answer did not come, "" if it did. A connection that is lost says so itself: nothing is said here then. */
  readonly error: ReadonlySignal<string>;
  /** again asks without waiting for the next turn; if a question is open, once more after it. */
  again(): void;
  end(): void;
}

/**
 * poll calls ask every so many ms, never twice at a time, and not while the page is hidden or
 * Breakwater is not there; it begins again at once when that is over. What ask throws is the
 * poll's error.
 */
export function poll(every: number, ask: (signal: AbortSignal) => Promise<void>): Poll {
  const abort = new AbortController();
  // When the question was asked that was answered last: its answer may be as old as that.
  const asked = signal(performance.now());
  const error = signal("");
  let begun = 0;
  let timer = 0;
  let asking = false;
  let more = false;

  const run = async () => {
    clearTimeout(timer);
    if (asking || abort.signal.aborted || document.hidden || !isLive()) return;
    asking = true;
    more = false;
    begun = performance.now();
    try {
      await ask(abort.signal);
      error.value = "";
    } catch (err) {
      error.value = isLive() ? (err as Error).message : "";
    }
    asking = false;
    asked.value = begun;
    if (!abort.signal.aborted) timer = window.setTimeout(() => void run(), more ? 0 : Math.max(50, every - (performance.now() - begun)));
  };
  const shown = () => void run();
  document.addEventListener("visibilitychange", shown);
  const stop = effect(() => {
    if (isLive()) void run();
    else error.value = "";
  });
  const late = computed(() => {
    void now.value;
    return performance.now() - asked.value > every + slack;
  });
  return {
    late,
    error,
    slow: computed(() => {
      void now.value;
      return late.value && asking && performance.now() - begun > slack;
    }),
    again: () => {
      more = true;
      void run();
    },
    end: () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
      stop();
    },
  };
}
