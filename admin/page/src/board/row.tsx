// One service on the board.

import type { ComponentChildren } from "preact";
import { isLive, type Entry } from "../live/store";
import { percent, perSecond } from "../ui/format";
import { serviceLink } from "../ui/route";
import { StateBadge, word } from "../ui/states";
import { Ago, Countdown, overWords } from "../ui/time";
import type { Breaker } from "../wire";
import { Sparkline } from "./sparkline";

export function Row({ entry, index, top }: { entry: Entry; index: number; top: number }) {
  const breaker = entry.breaker.value;
  const live = isLive();
  const { service, state, overview, summary } = breaker;
  return (
    <div
      class="row"
      role="row"
      aria-rowindex={index + 2}
      data-service={service}
      data-state={live ? state : "unknown"}
      data-last-state={live ? undefined : state}
      style={{ transform: `translateY(${top}px)` }}
    >
      <div role="cell" class="cell-state">
        <StateBadge state={state} stale={!live} waiting={overview.waiting} part={isPart(breaker)} />
      </div>
      <div role="cell" class="cell-name">
        <span class="name-line">
          <a href={serviceLink(service)} data-row={index} title={[service, live && summary.replaceAll("_", " "), overview.cause].filter(Boolean).join("\n")}>
            {service}
          </a>
          <Marks breaker={breaker}>
            {live && isPart(breaker) && (
              <span class="mark mark-part" data-look={look(breaker)} title={summary.replaceAll("_", " ")}>
                on {overview.proxies_in_state} of {overview.proxies}
              </span>
            )}
          </Marks>
        </span>
        <span class="cause" title={overview.cause}>
          {overview.cause}
        </span>
      </div>
      <div role="cell" class="cell-time">
        <Times breaker={breaker} />
      </div>
      <div role="cell" class="cell-hosts">
        <Hosts breaker={breaker} />
      </div>
      <div role="cell" class="cell-proxies">
        {live && overview.proxies > 0 && `${word[state].toLowerCase()} on ${overview.proxies_in_state} of ${overview.proxies}`}
        {live && overview.proxies > 0 && state !== "closed" && <Share breaker={breaker} />}
        {live && overview.proxies === 0 && "no proxy"}
      </div>
      <div role="cell" class="cell-rate">
        <Sparkline entry={entry} />
        <Rate entry={entry} />
      </div>
      <div role="cell" class="cell-errors">
        <ErrorRate entry={entry} />
      </div>
    </div>
  );
}

/** isPart reports whether only some of the proxies are in the breaker's state. */
const isPart = ({ overview }: Breaker) => overview.proxies_in_state < overview.proxies;

const look = ({ state, overview }: Breaker) => (overview.waiting ? "none" : state);

/** Share draws in how many of the proxies the breaker is in its state. */
function Share({ breaker }: { breaker: Breaker }) {
  const { proxies, proxies_in_state: inside } = breaker.overview;
  return (
    <span class="share" data-look={look(breaker)} aria-hidden="true">
      <span style={{ width: `${(100 * inside) / proxies}%` }} />
    </span>
  );
}

/** Marks say what else is to be known of a service, beside its state. */
export function Marks({ breaker: { overview }, children }: { breaker: Breaker; children?: ComponentChildren }) {
  const shadow = overview.shadow_state !== "" && overview.shadow_state !== "closed" ? `shadow: would be ${word[overview.shadow_state].toLowerCase()}` : "shadow";
  return (
    <span class="marks">
      {children}
      {overview.order && (
        <span class="mark mark-order" title={orderWords(overview.order)}>
          {overview.order.state === "disabled" ? "disabled" : "forced"}
          {overview.order.actor && ` by ${overview.order.actor}`}
        </span>
      )}
      {overview.shadow && (
        <span class="mark mark-shadow" title="It only observes: nothing is enforced.">
          {shadow}
        </span>
      )}
      {overview.overloaded && (
        <span class="mark mark-overloaded" title="A limit of the service is hit now.">
          overloaded
        </span>
      )}
    </span>
  );
}

function orderWords(order: { actor: string; reason: string }): string {
  return `Override by ${order.actor || "unknown"}${order.reason ? `: ${order.reason}` : ""}`;
}

export function Times({ breaker: { state, overview } }: { breaker: Breaker }) {
  if (!isLive()) return null;
  return (
    <>
      {overview.until && (
        <span class="left">
          <Countdown until={overview.until} over={overWords(state)} />
        </span>
      )}
      {overview.since && (
        <span class="since">
          <small>for </small>
          <Ago at={overview.since} />
        </span>
      )}
    </>
  );
}

/** Hosts are those of the proxy that has most of them ejected: the others may well have them all. */
export function Hosts({ breaker }: { breaker: Breaker }) {
  const { ejected_hosts: out, total_hosts: all, proxies } = breaker.overview;
  if (!isLive() || all === 0) return <span class="faint">–</span>;
  const bad = out === all && !isPart(breaker);
  const many = proxies > 1;
  return (
    <span class={out === 0 ? "" : bad ? "bad" : "warn"} title={`${out} of ${all} hosts ejected${many ? ", in the proxy that has most ejected" : ""}`}>
      {all - out} of {all}
      {out > 0 && many ? <small class="at-worst"> at worst</small> : <small> in</small>}
    </span>
  );
}

export function Rate({ entry }: { entry: Entry }) {
  void entry.measured.value;
  const rate = isLive() ? entry.meter.rate() : null;
  if (rate === null) return <span class="rate faint">–</span>;
  return (
    <span class="rate">
      {perSecond(rate)}
      <small>/s</small>
    </span>
  );
}

export function ErrorRate({ entry }: { entry: Entry }) {
  void entry.measured.value;
  const share = isLive() ? entry.meter.errorRate() : null;
  if (share === null) return <span class="faint">–</span>;
  return <span class={share >= 0.01 ? "bad" : ""}>{percent(share)}</span>;
}
