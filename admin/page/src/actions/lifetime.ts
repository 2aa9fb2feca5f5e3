// How long an override holds, as an operator writes it: the CLI's --ttl, such as 45m or 2h30m.

const units: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, "µs": 1e-6, "μs": 1e-6, ns: 1e-9 };
const term = /(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)/y;
/** longest is how long an override may hold, in s: 100 years. */
const longest = 876_000 * 3600;
/** shortest is the least time that an override can hold, in s. */
const shortest = 1e-9;

const tooShort = "It is too short. For no end, choose “For ever”.";

/** lifetime is text in s. In the place of a time that cannot be is what is wrong with it. */
export function lifetime(text: string): number | string {
  const t = text.trim();
  if (t === "") return "Say how long, such as 45m or 2h30m.";
  if (/^\d+$/.test(t) && Number(t) > 0) return `${t} of what? Say the unit: ${t}s, ${t}m or ${t}h.`;
  if (t.startsWith("-")) return "It must not be negative.";
  if (/^[+]?0$/.test(t)) return tooShort;
  let seconds = 0;
  term.lastIndex = t.startsWith("+") ? 1 : 0;
  do {
    const [, number, unit] = term.exec(t) ?? [];
    if (!number || !unit) return `“${t}” is no duration. Write hours, minutes and seconds, such as 45m, 2h30m or 90s.`;
    seconds += Number(number) * (units[unit] ?? NaN);
  } while (term.lastIndex < t.length);
  if (seconds > longest) return "It is longer than 100 years: choose “For ever”.";
  if (seconds < shortest) return tooShort;
  return seconds;
}
