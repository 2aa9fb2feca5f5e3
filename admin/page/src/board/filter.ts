// Which services the board shows, and in which order.

import { computed, signal } from "@preact/signals";
import { changed, entries, measured, type Entry } from "../live/store";
import { severity, states } from "../ui/states";
import type { State } from "../wire";

export type Sort = "trouble" | "name" | "rate";

export const query = signal("");
/** filter: empty for all states. */
export const filter = signal<ReadonlySet<State>>(new Set());
export const sort = signal<Sort>("trouble");

/** totals are the services by state, whatever is filtered. */
export const totals = computed(() => {
  void changed.value;
  const by = new Map<State, number>(states.map((s) => [s, 0]));
  for (const { breaker } of entries.values()) {
    const { state } = breaker.peek();
    by.set(state, (by.get(state) ?? 0) + 1);
  }
  return by;
});

/** trouble is greater the graver: the state first, then what a closed breaker may be about to do. */
function trouble({ breaker, meter }: Entry): number {
  const { state, overview } = breaker.peek();
  let t = 8 * (states.length - severity(state));
  if (overview.shadow && overview.shadow_state !== "" && overview.shadow_state !== "closed") t += 4;
  if (overview.ejected_hosts > 0) t += 3;
  else if (overview.overloaded) t += 2;
  else if ((meter.errorRate() ?? 0) >= 0.01) t += 1;
  return t;
}

const byName = (a: Entry, b: Entry) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** visible are the services to be shown, in order. It is the same array while nothing moves. */
export const visible = computed<Entry[]>((() => {
  let last: Entry[] = [];
  return () => {
    void changed.value;
    if (sort.value !== "name") void measured.value;
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [...entries.values()].filter(({ name, breaker }) => {
      const { state, overview } = breaker.peek();
      if (filter.value.size > 0 && !filter.value.has(state)) return false;
      const text = `${name} ${overview.cause}`.toLowerCase();
      return words.every((w) => text.includes(w));
    });
    const keys = new Map<Entry, number>();
    if (sort.value === "trouble") for (const e of shown) keys.set(e, trouble(e));
    if (sort.value === "rate") for (const e of shown) keys.set(e, e.meter.rate() ?? 0);
    shown.sort((a, b) => (keys.get(b) ?? 0) - (keys.get(a) ?? 0) || byName(a, b));
    if (shown.length !== last.length || shown.some((e, i) => e !== last[i])) last = shown;
    return last;
  };
})());
