// What the proxies have reported of the last 15 minutes, of the services that somebody looks at. Breakwater remembers it:
// a plot begins with what was before the page was opened, and goes on with what Breakwater has heard since.

import { batch, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { duration } from "../ui/format";
import type { History } from "../wire";
import { serverNow } from "./clock";
import { get } from "./http";
import { poll, type Poll } from "./poll";

/** kept is the time in s that is known at most, and brief that which is drawn at least. */
export const kept = 900;
const brief = 120;
/** every is the time in ms between two questions. */
const every = 2000;
/** rest is how long in ms no further service must come into view before those that have are asked for. */
const rest = 150;
/** most is the number of services that one question names. */
const most = 100;
/** little is the least time in s that a rate is of. */
const little = 2;

/** Counts are of the proxies that reported, of which there is at least one. */
interface Counts {
  proxies: number;
  attempts: number;
  failures: number;
  refused: number;
}

/** Span is a piece of the time that is kept, in s; its counts are null if nothing is known of it. */
export interface Span {
  from: number;
  to: number;
  counts: Counts | null;
}

/** Bucket is a span of which something is known, and of it what the Breakwaters knew that were there before that of since. */
interface Bucket extends Span {
  counts: Counts;
  since: number;
  before: Bucket | null;
}

/** rateIn is the rate in a span of something that was counted in it. */
export const rateIn = ({ from, to }: Span, n: number) => n / Math.max(little, to - from);

let step = 10;
/**
 * since is when the reports began that Breakwater remembers, and end the time until which all is known; in s. began is the
 * earliest since that this page has heard of: of a Breakwater that was there before, too.
 */
let since = 0;
let end = 0;
let began = Infinity;

/** axis is the time in s that is drawn: all that can be known of any service, so that all have the same axis. */
export const axis = () => Math.min(kept, Math.max(brief, end - began));
/** minutes is axis, in whole minutes. */
export const minutes = signal(brief / 60);

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

  /** add takes an answer in. What a Breakwater knew that was there before is not in it, and stays. */
  add(answer: History): void {
    const start = Date.parse(answer.start) / 1000;
    const own = answer.services.find((s) => s.service === this.name);
    answer.proxies.forEach((proxies, i) => {
      const at = start + i * step;
      this.last = at;
      if (proxies === 0) return;
      const had = this.buckets.get(at) ?? null;
      const before = had && had.since !== since ? had : (had?.before ?? null);
      const sum = (of: "attempts" | "failures" | "refused") => (own?.[of][i] ?? 0) + (before?.counts[of] ?? 0);
      this.buckets.set(at, {
        from: before?.from ?? Math.max(at, Math.min(since, end)),
        to: Math.min(at + step, end),
        counts: { proxies, attempts: sum("attempts"), failures: sum("failures"), refused: sum("refused") },
        since,
        before,
      });
    });
    for (const at of this.buckets.keys()) if (at + step <= end - kept || at > end) this.buckets.delete(at);
  }

  /** spans are all of the time that is kept, from the oldest. The last is left out while it is too short for a rate. */
  spans(): Span[] {
    const spans: Span[] = [];
    for (let at = Math.floor((end - kept) / step + 1) * step; at + little < end; at += step) {
      spans.push(this.buckets.get(at) ?? { from: at, to: Math.min(at + step, end), counts: null });
    }
    return spans;
  }

  /** drawn are the spans that a plot is of. */
  drawn(): Span[] {
    return this.spans().filter((s) => s.to > end - axis());
  }
}

const viewed = new Map<string, Series>();
let asking = 0;
let following: Poll | null = null;

/** useSeries is a service's series, which is kept up to date while the component is there. */
export function useSeries(name: string): Series {
  const series = useMemo(() => viewed.get(name) ?? new Series(name), [name]);
  useEffect(() => {
    viewed.set(name, series);
    series.viewers++;
    if (series.last === 0) {
      clearTimeout(asking);
      asking = window.setTimeout(() => following?.again(), rest);
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
async function ask(all: Series[], abort: AbortSignal): Promise<void> {
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
      if (since > 0) began = Math.min(began, since);
      for (const s of some) s.add(answer);
    } catch {
      if (abort.aborted) return;
      end = serverNow() / 1000; // what happens meanwhile is not known
    }
    batch(() => {
      minutes.value = Math.floor(axis() / 60);
      some.forEach((s) => s.moved.value++);
    });
  }
}

/** followHistory keeps what somebody looks at up to date for as long as the page lives. */
export function followHistory(): void {
  following = poll(every, async (abort) => {
    await ask(looked((s) => s.last > 0), abort);
    await ask(looked((s) => s.last === 0), abort);
  });
}
