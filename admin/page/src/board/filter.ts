// Which services the board shows, and in which order.

import { computed, signal } from "@preact/signals";
import { changed, entries, isLive, measured, type Entry } from "../live/store";
import { severity, states } from "../ui/states";
import type { State } from "../wire";

export type Sort = "trouble" | "name" | "rate";

export const query = signal("");
/** filter: empty for all states. */
export const filter = signal<ReadonlySet<State>>(new Set());
export const sort = signal<Sort>("trouble");

/** Total is how many services are in a state, and whether one of them is more than a half-open breaker that waits. */
export interface Total {
  services: number;
  busy: boolean;
}

/** totals are the services by the state that is shown, whatever is filtered: all are unknown while nothing is known. */
export const totals = computed(() => {
  void changed.value;
  const by = new Map<State, Total>(states.map((s) => [s, { services: 0, busy: false }]));
  for (const { breaker } of entries.values()) {
    const { state, overview } = breaker.peek();
    const total = by.get(isLive() ? state : "unknown");
    if (!total) continue;
    total.services++;
    total.busy ||= !overview.waiting;
  }
  return by;
});

/** trouble is greater the graver: the state first, then what a closed breaker may be about to do. One that waits is hardly any. */
function trouble({ breaker, meter }: Entry): number {
  const { state, overview } = breaker.peek();
  if (overview.waiting) return 8 + 0.5;
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
      // What was open when Breakwater went is found by that, too.
      const unknown = !isLive() && filter.value.has("unknown");
      if (filter.value.size > 0 && !filter.value.has(state) && !unknown) return false;
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
