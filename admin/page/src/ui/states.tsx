// A breaker's states as they are shown: each has a colour, a word and a shape, so that none of
// them is needed to tell them apart.

import type { JSX } from "preact";
import type { State } from "../wire";

/** states are in order of trouble, the gravest first: what nobody has planned goes before what an operator wants. */
export const states: State[] = ["open", "half_open", "unknown", "forced_open", "disabled", "closed"];

export const word: Record<State, string> = {
  closed: "Closed",
  open: "Open",
  half_open: "Half-open",
  forced_open: "Forced open",
  disabled: "Disabled",
  unknown: "Unknown",
};

export const meaning: Record<State, string> = {
  closed: "requests go through",
  open: "requests fail fast",
  half_open: "a few probes go through",
  forced_open: "an operator lets nothing through",
  disabled: "an operator lets everything through",
  unknown: "the proxy cannot be seen",
};

export const shapes: Record<State, JSX.Element> = {
  closed: (
    <>
      <circle cx="8" cy="8" r="6.5" fill="currentColor" />
      <path d="M5 8.3l2.1 2.1L11 6" class="cut" />
    </>
  ),
  open: (
    <>
      <path d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z" fill="currentColor" />
      <path d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" class="cut" />
    </>
  ),
  half_open: (
    <>
      <circle cx="8" cy="8" r="5.8" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path d="M8 2.2a5.8 5.8 0 0 0 0 11.6z" fill="currentColor" />
    </>
  ),
  forced_open: (
    <>
      <path d="M5 7V5a3 3 0 0 1 6 0v2" fill="none" stroke="currentColor" stroke-width="1.8" />
      <rect x="2.5" y="6.8" width="11" height="7.7" rx="1.2" fill="currentColor" />
      <path d="M8 9.5v2.3" class="cut" />
    </>
  ),
  disabled: (
    <>
      <circle cx="8" cy="8" r="5.8" fill="none" stroke="currentColor" stroke-width="1.6" />
      <path d="M4 12L12 4" stroke="currentColor" stroke-width="1.6" />
    </>
  ),
  unknown: (
    <>
      <path d="M8 1.3L14.7 8 8 14.7 1.3 8z" fill="none" stroke="currentColor" stroke-width="1.4" stroke-dasharray="2.2 1.4" />
      <path d="M6.3 6.7a1.7 1.7 0 1 1 2.5 1.5c-.6.3-.8.6-.8 1.2M8 10.9v.6" fill="none" stroke="currentColor" stroke-width="1.3" />
    </>
  ),
};

export function StateIcon({ state }: { state: State }) {
  return (
    <svg class="state-icon" viewBox="0 0 16 16" aria-hidden="true">
      {shapes[state] ?? shapes.unknown}
    </svg>
  );
}

interface BadgeProps {
  state: State;
  /** What it was when it was last known. */
  stale?: boolean;
  large?: boolean;
  /** Half-open without traffic: no trouble. */
  waiting?: boolean;
  /** In some of the proxies only. */
  part?: boolean;
}

/** StateBadge is a state in all three ways. */
export function StateBadge({ state, stale = false, large = false, waiting = false, part = false }: BadgeProps) {
  const shown = stale ? "unknown" : state;
  const idle = waiting && !stale;
  return (
    <>
      <span
        class={`state ${large ? "state-large" : ""}`}
        data-look={idle ? "none" : shown}
        data-part={part && !stale ? "true" : undefined}
        title={stale ? undefined : idle ? "it closes once requests come and succeed" : meaning[shown]}
      >
        <StateIcon state={shown} />
        <span class="state-word">
          {word[shown] ?? shown}
          {idle && <small>, waiting</small>}
        </span>
      </span>
      {stale && <small class="state-was">was {word[state]?.toLowerCase() ?? state}</small>}
    </>
  );
}

/** severity is the order of trouble: the smaller the graver. */
export function severity(state: State): number {
  const at = states.indexOf(state);
  return at < 0 ? 0 : at;
}
