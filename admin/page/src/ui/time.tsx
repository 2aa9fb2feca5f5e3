// Times that move by themselves.

import { now } from "../live/clock";
import { isLive } from "../live/store";
import type { State, Timestamp } from "../wire";
import { dateTime, span } from "./format";

/** Ago is how long ago something was. */
export function Ago({ at }: { at: Timestamp }) {
  if (at === null) return null;
  const time = Date.parse(at);
  return (
    <time dateTime={at} title={dateTime(time, now.value)}>
      {span(now.value - time)}
    </time>
  );
}

/** Countdown is the time that is left until something, by the server's clock; over says what it is then. */
export function Countdown({ until, over }: { until: Timestamp; over: string }) {
  if (until === null || !isLive()) return null;
  const left = Date.parse(until) - now.value;
  return (
    <>
      <time dateTime={until} class="countdown" title={dateTime(Date.parse(until), now.value)}>
        {left > 0 ? span(Math.max(1000, left)) : over}
      </time>
      {left > 0 && <small> left</small>}
    </>
  );
}

/** overWords say what a breaker is about to do whose time is over. */
export const overWords = (state: State) => (state === "open" ? "probing next" : "ending");

/** Moment is a time of day, with the day if it is another. */
export function Moment({ at }: { at: Timestamp }) {
  if (at === null) return <>never</>;
  const time = Date.parse(at);
  return <time dateTime={at}>{dateTime(time, now.peek())}</time>;
}
