// The breaker's state machine, with the policy's numbers and where the proxies are in it.

import type { JSX } from "preact";
import { isLive } from "../live/store";
import { shapes, word } from "../ui/states";
import type { Breaker, State } from "../wire";

interface Node {
  state: State;
  x: number;
  y: number;
  /** Half of its width. */
  half: number;
}

const nodes: Node[] = [
  { state: "closed", x: 84, y: 62, half: 76 },
  { state: "open", x: 356, y: 62, half: 76 },
  { state: "half_open", x: 220, y: 196, half: 76 },
  { state: "forced_open", x: 114, y: 282, half: 98 },
  { state: "disabled", x: 326, y: 282, half: 98 },
];
const halfHeight = 24;

/** Policy is what the labels say of the policy: "" for a value that is not known. */
type Policy = (path: string) => string;

/** trips says what opens the breaker, a line each. */
function trips(policy: Policy): string[] {
  const lines = ["every host ejected"];
  const threshold = policy("breaker.failure_threshold");
  if (threshold && threshold !== "off") lines.push(`${threshold} of ${policy("breaker.window_size")} failed`);
  const rate = policy("breaker.failure_rate");
  if (rate && rate !== "off") lines.push(`${rate} of ≥ ${policy("breaker.min_requests")} failed`);
  const slow = policy("breaker.slow_call.rate");
  if (slow && slow !== "off") lines.push(`${slow} slower than ${policy("breaker.slow_call.duration")}`);
  return lines;
}

function openTime(policy: Policy): string[] {
  const timeout = policy("breaker.timeout");
  if (!timeout) return [];
  const backoff = policy("breaker.backoff");
  if (!backoff || backoff === "1") return [`after ${timeout}`];
  return [`after ${timeout}`, `× ${backoff} each time`, `≤ ${policy("breaker.max_timeout")}`];
}

/** known: breaker's proxies are those of now. */
export function Machine({ breaker, known, policy }: { breaker: Breaker; known: boolean; policy: Policy }) {
  const by = new Map<State, number>();
  for (const p of breaker.proxies) by.set(p.state, (by.get(p.state) ?? 0) + 1);
  const live = isLive() && known;
  const successes = policy("breaker.success_threshold");
  const probes = policy("breaker.half_open.max_requests");
  const unknown = by.get("unknown") ?? 0;
  return (
    <figure class="machine" data-current={live ? breaker.state : "unknown"}>
      <svg viewBox="0 0 440 318" role="img" aria-label={describe(breaker, live)}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0 0L8 4L0 8z" class="machine-tip" />
          </marker>
        </defs>
        <Edge d="M160 62H278" label={trips(policy)} x={220} y={56} grow="up" />
        <Edge d="M372 86C366 130 338 168 298 186" label={openTime(policy)} x={352} y={152} anchor="start" />
        <Edge d="M262 172C290 150 312 122 330 88" label={["1 failure"]} x={288} y={128} anchor="end" />
        <Edge d="M142 186C106 168 80 130 78 88" label={successes ? [`${successes} successes`, `≤ ${probes} at a time`] : []} x={92} y={152} anchor="end" />
        <path class="machine-rule" d="M16 248H424" />
        <text class="machine-label" x="220" y="244" text-anchor="middle">
          by an operator, until released
        </text>
        {nodes.map((n) => (
          <Box key={n.state} node={n} on={live ? (by.get(n.state) ?? 0) : 0} of={breaker.proxies.length} />
        ))}
      </svg>
      {(unknown > 0 || breaker.proxies.length === 0) && live && (
        <figcaption>
          {breaker.proxies.length === 0 ? "No proxy is connected: its state is unknown." : `Unknown on ${unknown} of ${breaker.proxies.length}: the proxy cannot be seen.`}
        </figcaption>
      )}
    </figure>
  );
}

function describe(breaker: Breaker, live: boolean): string {
  return live ? `State machine: ${breaker.summary.replaceAll("_", " ")}` : "State machine: the state is not known";
}

function Box({ node: { state, x, y, half }, on, of }: { node: Node; on: number; of: number }) {
  const text = of > 1 && on > 0 ? `${word[state]} ${on}/${of}` : word[state];
  return (
    <g class={`machine-state ${on > 0 ? "machine-on" : ""}`} data-look={state} transform={`translate(${x} ${y})`}>
      <rect x={-half} y={-halfHeight} width={2 * half} height={2 * halfHeight} rx="10" />
      <g class="state-icon" transform={`translate(${-half + 11} -8)`}>
        {shapes[state]}
      </g>
      <text x={12} y={4.5} text-anchor="middle">
        {text}
      </text>
    </g>
  );
}

function Edge(props: { d: string; label: string[]; x: number; y: number; anchor?: "start" | "end"; grow?: "up" }): JSX.Element {
  const { d, label, x, y, anchor, grow } = props;
  const top = grow === "up" ? y - 15 * (label.length - 1) : y;
  return (
    <>
      <path class="machine-edge" d={d} marker-end="url(#tip)" />
      {label.map((line, i) => (
        <text key={i} class="machine-label" x={x} y={top + 15 * i} text-anchor={anchor ?? "middle"}>
          {line}
        </text>
      ))}
    </>
  );
}
