// A service's history in words, and as columns for a plot.

import { kept, rateIn, type Series, type Span } from "../live/history";
import { clockTime, count } from "./format";

const minutes = `${kept / 60} min`;
/** notable is how many gaps are told of. */
const notable = 3;

type Known = Span & { counts: NonNullable<Span["counts"]> };

const known = (spans: Span[]) => spans.filter((s): s is Known => s.counts !== null);
const sum = (spans: Known[], of: (s: Known) => number) => spans.reduce((total, s) => total + of(s), 0);
const time = (s: number) => clockTime(s * 1000);
const within = (from: Span, to: Span) => `from ${time(from.from)} to ${time(to.to)}`;

/** briefly is what a list says of a history. */
export function briefly(spans: Span[]): string {
  const all = known(spans);
  const [first] = all;
  if (!first) return `the last ${minutes} are not known`;
  const early = first === spans[0] ? "" : `, known since ${time(first.from)}`;
  return `in ${minutes} ${count(sum(all, (s) => s.counts.attempts), "attempt", "attempts")}, ${sum(all, (s) => s.counts.failures)} failed${early}`;
}

/** story is what a history says, and what it cannot say. */
export function story(spans: Span[]): string[] {
  const all = known(spans);
  const [first] = all;
  if (!first) return [`Nothing is known of the last ${minutes}.`];
  const failing = all.filter((s) => s.counts.failures > 0);
  const [from, to] = [failing[0], failing.at(-1)];
  const when = from && to ? ` (${within(from, to)})` : "";
  const refused = sum(all, (s) => s.counts.refused);
  const counts = [
    count(sum(all, (s) => s.counts.attempts), "attempt", "attempts"),
    `${sum(failing, (s) => s.counts.failures).toLocaleString("en")} failed${when}`,
    ...(refused > 0 ? [`${count(refused, "request", "requests")} refused`] : []),
  ];
  const said = [`In the last ${minutes}: ${counts.join(", ")}.`];
  if (first !== spans[0]) said.push(`Nothing is known before ${time(first.from)}.`);
  const later = spans.slice(spans.indexOf(first));
  const gaps = runs(later, (s) => s.counts === null).map(([a, b]) => `Nothing is known ${within(a, b)}.`);
  let full = 0;
  const missing = new Map<Span, string>();
  for (const s of all) {
    full = Math.max(full, s.counts.proxies);
    if (s.counts.proxies < full) missing.set(s, `${s.counts.proxies} of ${full} proxies reported`);
  }
  const few = runs(later, (s) => missing.has(s)).map(([a, b]) => `Only ${missing.get(b)} ${within(a, b)}.`);
  return [...said, ...gaps.slice(-notable), ...few.slice(-notable)];
}

/** runs are the first and the last of the spans that follow each other and are such. */
function runs(spans: Span[], such: (s: Span) => boolean): [Span, Span][] {
  const found: [Span, Span][] = [];
  spans.forEach((s, i) => {
    if (!such(s)) return;
    const last = found.at(-1);
    if (last && last[1] === spans[i - 1]) last[1] = s;
    else found.push([s, s]);
  });
  return found;
}

/** columns are times in s, then attempts, failures and refusals per second: level within each bucket, null where nothing is known. */
export function columns(series: Series): (number | null)[][] {
  const out: (number | null)[][] = [[], [], [], []];
  for (const span of series.drawn()) {
    const rate = (n: number | undefined) => (n === undefined ? null : rateIn(span, n));
    const { from, to, counts } = span;
    const row = [rate(counts?.attempts), rate(counts?.failures), rate(counts?.refused)];
    for (const at of [from + 0.01, to]) [at, ...row].forEach((value, i) => out[i]?.push(value));
  }
  return out;
}
