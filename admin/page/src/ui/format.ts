// Numbers and times in words.

/** span is a duration in ms, rounded to what matters: "42 s", "3 min 5 s", "2 h 10 min", "4 d". */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  const h = Math.floor(s / 3600);
  if (h < 48) return h < 10 && s % 3600 >= 60 ? `${h} h ${Math.floor((s % 3600) / 60)} min` : `${h} h`;
  return `${Math.floor(h / 24)} d`;
}

/** clockTime is the time of day in this browser's zone. */
export function clockTime(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** dateTime is clockTime with the day, unless it is the day of now. */
export function dateTime(ms: number, now: number): string {
  const day = new Date(ms);
  if (day.toDateString() === new Date(now).toDateString()) return clockTime(ms);
  return `${day.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })}, ${clockTime(ms)}`;
}

/** perSecond is a rate: "0.3", "12", "1.5k". */
export function perSecond(rate: number): string {
  if (rate === 0) return "0";
  if (rate < 0.05) return "<0.1";
  if (rate < 10) return rate.toFixed(1);
  if (rate < 1000) return String(Math.round(rate));
  return `${(rate / 1000).toFixed(rate < 10_000 ? 1 : 0)}k`;
}

/** percent is a share: "0 %", "0.4 %", "37 %". */
export function percent(share: number): string {
  const p = share * 100;
  if (p === 0) return "0 %";
  if (p < 0.1) return "<0.1 %";
  if (p < 10 && !Number.isInteger(p)) return `${p.toFixed(1)} %`;
  return `${Math.round(p)} %`;
}

/** milliseconds is a time that a request took. */
export function milliseconds(ms: number): string {
  if (ms === 0) return "0";
  if (ms < 1) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

/** count is "1 proxy", "3 proxies". */
export function count(n: number, one: string, many: string): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** duration reads the API's "1.5s" as ms. */
export function duration(text: string): number {
  return parseFloat(text) * 1000;
}
