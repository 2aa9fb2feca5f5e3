// A service's requests of the last minute, with those that failed, as a small drawing.

import { span } from "../live/meter";
import type { Entry } from "../live/store";

const width = 96;
const height = 22;
/** step is how many seconds one point of the line stands for. */
const step = 2;

/** pairs adds up every two seconds, aligned to the newest, so that a report that comes late leaves no gap. */
function pairs(of: number[]): number[] {
  const sums: number[] = [];
  for (let end = of.length; end > 0; end -= step) {
    sums.unshift(of.slice(Math.max(0, end - step), end).reduce((a, n) => a + n, 0));
  }
  return sums;
}

function line(points: number[], top: number): string {
  const n = span / step;
  return points
    .map((value, i) => {
      const x = ((i + n - points.length) / (n - 1)) * width;
      const y = height - 1 - (value / top) * (height - 3);
      return `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

export function Sparkline({ entry }: { entry: Entry }) {
  void entry.measured.value;
  const all = pairs(entry.meter.attempts);
  const failed = pairs(entry.meter.failures);
  const top = Math.max(...all, 1);
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="spark-base" d={`M0 ${height - 1}H${width}`} />
      {all.length > 1 && <path class="spark-all" d={line(all, top)} />}
      {failed.some((n) => n > 0) && <path class="spark-failed" d={line(failed, top)} />}
    </svg>
  );
}
