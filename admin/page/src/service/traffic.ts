// What the Envoys counted of a service's requests, as rates and percentiles over time.

import { duration } from "../ui/format";
import type { LatencyBucket, OutcomeCount, Traffic } from "../wire";

export const outcomes: OutcomeCount["outcome"][] = ["success", "error", "circuit_open", "overloaded", "fallback"];
export const quantiles = [0.5, 0.95, 0.99];

/** kept is the number of samples that are remembered: five minutes. */
const kept = 300;
/** window is the time in s that a percentile is of: Envoy brings its histograms up to date every 5 s. */
const window = 11;

interface Totals {
  at: number;
  outcomes: number[];
  /** Requests by the upper bound of their time in ms; Infinity for the last. Cumulative. */
  latency: Map<number, number>;
}

/** History adds up the proxies' counters, whichever of them begin anew, come and go. */
export class History {
  private readonly seen = new Map<string, { outcomes: number[]; latency: Map<number, number> }>();
  private readonly totals: Totals[] = [];
  private time = "";
  /** Why proxies could not be asked, in the last answer. */
  errors: { proxy: string; error: string }[] = [];

  /** add takes in an answer; it reports whether it was new. */
  add(traffic: Traffic): boolean {
    if (traffic.time === null || traffic.time === this.time) return false;
    this.time = traffic.time;
    this.errors = traffic.proxies.filter((p) => p.error !== "");
    const last = this.totals.at(-1);
    const next: Totals = {
      at: Date.parse(traffic.time) / 1000,
      outcomes: last ? [...last.outcomes] : outcomes.map(() => 0),
      latency: new Map(last?.latency),
    };
    for (const p of traffic.proxies) {
      if (p.error !== "") continue;
      const counts = outcomes.map((o) => Number(p.outcomes.find((c) => c.outcome === o)?.total ?? 0));
      const latency = buckets(p.latency);
      const before = this.seen.get(p.proxy);
      this.seen.set(p.proxy, { outcomes: counts, latency });
      if (!before) continue;
      const anew = counts.some((n, i) => n < (before.outcomes[i] ?? 0));
      counts.forEach((n, i) => (next.outcomes[i] = (next.outcomes[i] ?? 0) + (anew ? n : n - (before.outcomes[i] ?? 0))));
      for (const [upper, n] of latency) {
        const had = anew ? 0 : (before.latency.get(upper) ?? 0);
        next.latency.set(upper, (next.latency.get(upper) ?? 0) + Math.max(0, n - had));
      }
    }
    this.totals.push(next);
    if (this.totals.length > kept) this.totals.shift();
    return true;
  }

  /** begin is when the first answer was of, in s; null before it. */
  begin(): number | null {
    return this.totals[0]?.at ?? null;
  }

  /** rates are columns for a plot: times in s, then requests per second by outcome. */
  rates(): (number | null)[][] {
    const columns: (number | null)[][] = [[], ...outcomes.map(() => [])];
    for (let i = 1; i < this.totals.length; i++) {
      const [a, b] = [this.totals[i - 1], this.totals[i]] as [Totals, Totals];
      columns[0]?.push(b.at);
      outcomes.forEach((_, o) => columns[o + 1]?.push(((b.outcomes[o] ?? 0) - (a.outcomes[o] ?? 0)) / Math.max(0.2, b.at - a.at)));
    }
    return columns;
  }

  /** percentiles are columns for a plot: times in s, then ms by quantile; null without requests. */
  percentiles(): (number | null)[][] {
    const columns: (number | null)[][] = [[], ...quantiles.map(() => [])];
    let from = 0;
    for (let i = 1; i < this.totals.length; i++) {
      const b = this.totals[i] as Totals;
      while (from + 1 < i && b.at - (this.totals[from + 1] as Totals).at >= window) from++;
      const a = this.totals[from] as Totals;
      const took = [...b.latency.entries()]
        .map(([upper, n]) => [upper, n - (a.latency.get(upper) ?? 0)] as [number, number])
        .sort(([x], [y]) => x - y);
      columns[0]?.push(b.at);
      quantiles.forEach((q, k) => columns[k + 1]?.push(quantile(took, q)));
    }
    return columns;
  }
}

function buckets(of: LatencyBucket[]): Map<number, number> {
  return new Map(of.map((b) => [b.upper === null ? Infinity : duration(b.upper), Number(b.count)]));
}

/** quantile interpolates in cumulative buckets in ascending order, as Prometheus' histogram_quantile does. */
export function quantile(cumulative: [number, number][], q: number): number | null {
  const all = cumulative.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  let lower = 0;
  let below = 0;
  for (const [upper, n] of cumulative) {
    if (n >= rank) {
      if (upper === Infinity) return lower;
      return n === below ? upper : lower + ((upper - lower) * (rank - below)) / (n - below);
    }
    lower = upper;
    below = n;
  }
  return lower;
}
