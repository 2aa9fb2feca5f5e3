// A service's attempts of the last 15 minutes at most, with those that failed, as a small drawing.

import { axis, rateIn, useSeries, type Span } from "../live/history";
import type { Entry } from "../live/store";
import { briefly } from "../ui/history";

const width = 96;
const height = 22;
/** top is the rate per second that the drawing is tall enough for at least. */
const top = 0.5;

/** line is level in each span; one of which nothing is known is left out. */
function line(spans: Span[], y: (s: Span) => number): string {
  const end = spans.at(-1)?.to ?? 0;
  const x = (at: number) => (Math.max(0, 1 - (end - at) / axis()) * width).toFixed(1);
  let path = "";
  let down = false;
  for (const s of spans) {
    if (s.counts) path += `${down ? "V" : `M${x(s.from)} `}${y(s).toFixed(1)}H${x(s.to)}`;
    down = s.counts !== null;
  }
  return path;
}

export function Sparkline({ entry }: { entry: Entry }) {
  const series = useSeries(entry.name);
  const spans = series.drawn();
  const attempts = (s: Span) => rateIn(s, s.counts?.attempts ?? 0);
  const failures = (s: Span) => rateIn(s, s.counts?.failures ?? 0);
  const most = Math.max(top, ...spans.map(attempts));
  const y = (rate: number) => height - 1 - (rate / most) * (height - 3);
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={briefly(series.spans())}>
      <path class="spark-base" d={line(spans, () => y(0))} />
      {spans.some((s) => attempts(s) > 0) && <path class="spark-all" d={line(spans, (s) => y(attempts(s)))} />}
      {spans.some((s) => failures(s) > 0) && <path class="spark-failed" d={line(spans, (s) => y(failures(s)))} />}
    </svg>
  );
}
