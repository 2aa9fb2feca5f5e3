// What is in each proxy's window, by which its breaker is judged.

import { useSignal } from "@preact/signals";
import { count, percent } from "../ui/format";
import type { ProxyWindow } from "../wire";

const first = 4;

export function Windows({ windows, still }: { windows: ProxyWindow[]; still: boolean }) {
  const all = useSignal(false);
  if (windows.length === 0) return <p class="faint">No proxy is connected.</p>;
  // Those with most failures first: they are next to open.
  const sorted = [...windows].sort((a, b) => failures(b) - failures(a));
  const shown = all.value ? sorted : sorted.slice(0, first);
  return (
    <>
      {still && <p class="faint">It stands still while the breaker is not closed.</p>}
      {shown.map((w) => (
        <Window key={w.proxy} window={w} />
      ))}
      {sorted.length > shown.length && (
        <button type="button" class="link" onClick={() => (all.value = true)}>
          Show all {sorted.length}
        </button>
      )}
    </>
  );
}

const attempts = (w: ProxyWindow) => w.batches.reduce((n, b) => n + Number(b.attempts), 0);
const failures = (w: ProxyWindow) => w.batches.reduce((n, b) => n + Number(b.failures), 0);

function Window({ window: w }: { window: ProxyWindow }) {
  const n = attempts(w);
  const failed = failures(w);
  let at = 0;
  return (
    <div class="window">
      <div class="window-words">
        <b class="mono">{w.proxy}</b>
        <span>
          <span class={failed > 0 ? "bad" : ""}>{failed}</span> of the last {count(n, "attempt", "attempts")} failed <small>(room for {w.size})</small>
        </span>
      </div>
      <svg class="window-bar" viewBox={`0 0 ${Math.max(w.size, 1)} 10`} preserveAspectRatio="none" role="img" aria-label={`${failed} of ${n} attempts failed, oldest first`}>
        <rect class="window-room" width={w.size} height="10" />
        {w.batches.map((b, i) => {
          const x = at;
          const width = Number(b.attempts);
          const red = Number(b.failures);
          at += width;
          return (
            <g key={i}>
              <rect class="window-ok" x={x} width={width - red} height="10" />
              {red > 0 && <rect class="window-failed" x={x + width - red} width={red} height="10" />}
            </g>
          );
        })}
      </svg>
      <ul class="window-limits">
        {w.failure_threshold > 0 && <Limit name="failures" is={failed} opens={w.failure_threshold} format={String} />}
        {w.failure_rate > 0 &&
          (n >= w.min_requests ? (
            <Limit name="failed" is={n > 0 ? failed / n : 0} opens={w.failure_rate} format={percent} />
          ) : (
            <li>
              rate counts from {w.min_requests} attempts, there are {n}
            </li>
          ))}
        {w.slow_rate > 0 &&
          (Number(w.measured) >= w.slow_min_requests ? (
            <Limit name="slow" is={Number(w.measured) > 0 ? Number(w.slow) / Number(w.measured) : 0} opens={w.slow_rate} format={percent} />
          ) : (
            <li>
              slowness counts from {w.slow_min_requests} measured attempts, there are {w.measured}
            </li>
          ))}
      </ul>
    </div>
  );
}

function Limit({ name, is, opens, format }: { name: string; is: number; opens: number; format: (n: number) => string }) {
  const share = Math.min(1, is / opens);
  return (
    <li class={share >= 0.75 ? "bad" : ""}>
      {format(is)} {name}, opens at {format(opens)}
    </li>
  );
}
