// What the proxies have reported of the last 15 minutes, of the services that somebody looks at. Breakwater remembers it:
// a plot begins with what was before the page was opened, and goes on with what Breakwater has heard since.

import { batch, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { duration } from "../ui/format";
import type { History } from "../wire";
import { serverNow } from "./clock";
import { get } from "./http";
import { poll } from "./poll";
import { isLive } from "./store";

/** kept is the time in s that is shown. */
export const kept = 900;
/** every is the time in ms between two questions. */
const every = 2000;
/** rest is how long in ms no further service must come into view before those that have are asked for. */
const rest = 150;
/** most is the number of services that one question names. */
const most = 100;
/** little is the least time in s that a rate is of. */
const little = 2;

/** Bucket is what was counted in some time by the proxies that reported then, of which there is at least one. */
interface Bucket {
  proxies: number;
  attempts: number;
  failures: number;
  refused: number;
}

/** Span is a piece of the time that is shown, in s; its bucket is null if nothing is known of it. */
export interface Span {
  from: number;
  to: number;
  bucket: Bucket | null;
}

let step = 10;
/** since is when the reports began that Breakwater remembers, and end the time until which all is known; in s. */
let since = 0;
let end = 0;

/** Series is what is known of one service. */
export class Series {
  /** Moves on with each answer. */
  readonly moved = signal(0);
  viewers = 0;
  /** When the last bucket begins that was answered, in s; 0 before the first answer. */
  last = 0;
  /** Those of which something is known, by their begin in s. */
  private readonly buckets = new Map<number, Bucket>();

  constructor(readonly name: string) {}

  /** add takes an answer in. What another Breakwater knew before this one was started stays. */
  add(answer: History): void {
    const start = Date.parse(answer.start) / 1000;
    const own = answer.services.find((s) => s.service === this.name);
    answer.proxies.forEach((proxies, i) => {
      this.last = start + i * step;
      if (proxies === 0) return;
      const at = (column?: number[]) => column?.[i] ?? 0;
      this.buckets.set(this.last, { proxies, attempts: at(own?.attempts), failures: at(own?.failures), refused: at(own?.refused) });
    });
    for (const at of this.buckets.keys()) if (at + step <= end - kept || at > end) this.buckets.delete(at);
  }

  /** spans are all of the time that is shown, from the oldest. The last is left out while it is too short for a rate. */
  spans(): Span[] {
    const spans: Span[] = [];
    for (let at = Math.floor((end - kept) / step + 1) * step; at < end; at += step) {
      const to = Math.min(at + step, end);
      if (to - at < little && spans.length > 0) break;
      spans.push({ from: since > at && since < to ? Math.min(since, to - little) : at, to, bucket: this.buckets.get(at) ?? null });
    }
    return spans;
  }
}

const viewed = new Map<string, Series>();
let asking = 0;

/** useSeries is a service's series, which is kept up to date while the component is there. */
export function useSeries(name: string): Series {
  const series = useMemo(() => viewed.get(name) ?? new Series(name), [name]);
  useEffect(() => {
    viewed.set(name, series);
    series.viewers++;
    if (series.last === 0) {
      clearTimeout(asking);
      asking = window.setTimeout(() => isLive() && void ask(looked((s) => s.last === 0)), rest);
    }
    return () => void series.viewers--;
  }, [series]);
  void series.moved.value;
  return series;
}

/** looked are the series that somebody looks at; the others are forgotten. */
function looked(which: (s: Series) => boolean): Series[] {
  for (const [name, s] of viewed) if (s.viewers === 0) viewed.delete(name);
  return [...viewed.values()].filter(which);
}

/** ask brings some series up to date. */
async function ask(all: Series[], abort?: AbortSignal): Promise<void> {
  for (let i = 0; i < all.length; i += most) {
    const some = all.slice(i, i + most);
    const query = new URLSearchParams(some.map((s) => ["services", s.name]));
    const from = Math.min(...some.map((s) => s.last));
    if (from > 0) query.set("from", new Date(from * 1000).toISOString());
    try {
      const answer = await get<History>(`api/v1/history?${query}`, abort);
      step = duration(answer.step) / 1000;
      since = answer.since === null ? 0 : Date.parse(answer.since) / 1000;
      end = Date.parse(answer.end) / 1000;
      for (const s of some) s.add(answer);
    } catch {
      if (abort?.aborted) return;
      end = serverNow() / 1000; // what happens meanwhile is not known
    }
    batch(() => some.forEach((s) => s.moved.value++));
  }
}

/** followHistory keeps what somebody looks at up to date for as long as the page lives. */
export function followHistory(): void {
  poll(every, async (abort) => {
    await ask(looked((s) => s.last > 0), abort);
    await ask(looked((s) => s.last === 0), abort);
  });
}
