// The server's clock, as far as its answers tell it. Every answer's Date header, which is cut
// to whole seconds, bounds the difference between the two clocks; the bounds are intersected.

import { signal } from "@preact/signals";

let low = -Infinity;
let high = Infinity;

/** learn takes in an answer's Date header; sent and received are performance.now() values. */
export function learn(date: string | null, sent: number, received: number): void {
  const second = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(second)) return;
  const from = second - received;
  const to = second + 1000 - sent;
  if (from > high || to < low) {
    // A clock was set anew: what was learnt before is void.
    low = from;
    high = to;
    now.value = serverNow();
    return;
  }
  const first = low === -Infinity;
  low = Math.max(low, from);
  high = Math.min(high, to);
  if (first) now.value = serverNow();
}

/** serverNow is the server's time in milliseconds since 1970; this browser's if nothing is known yet. */
export function serverNow(): number {
  return Number.isFinite(low) ? performance.now() + (low + high) / 2 : Date.now();
}

/** now is serverNow, moved on once a second. */
export const now = signal(serverNow());

const listeners = new Set<() => void>();

/** everySecond calls back with each move of now, until the function that it returns is called. */
export function everySecond(callback: () => void): () => void {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

setInterval(() => {
  now.value = serverNow();
  for (const callback of listeners) callback();
}, 1000);
