// Events, the newest first.

import { StateIcon, word } from "../ui/states";
import { Ago, Moment } from "../ui/time";
import { serviceLink } from "../ui/route";
import type { BreakerEvent, State } from "../wire";

const kinds: Record<string, string> = {
  lapse: "Lapsed",
  host_ejected: "Host ejected",
  host_returned: "Host returned",
  reset: "Reset",
  force_open: "Forced open",
  disable: "Disabled",
  release: "Released",
  forget: "Proxy forgotten",
};

/** look is the state whose colour and shape an event has. */
export function look(e: BreakerEvent): State {
  switch (e.kind) {
    case "transition":
      return e.to || "unknown";
    case "force_open":
      return "forced_open";
    case "disable":
      return "disabled";
    case "host_ejected":
      return "open";
    case "lapse":
    case "forget":
      return "unknown";
    default:
      return "closed";
  }
}

/** what is what happened, in a few words. */
export function what(e: BreakerEvent): string {
  if (e.kind === "transition") return `${e.from ? word[e.from] : "?"} → ${e.to ? word[e.to] : "?"}`;
  const name = kinds[e.kind] ?? e.kind.replaceAll("_", " ");
  return e.host ? `${name}: ${e.host}` : name;
}

export function Timeline({ events, services = false }: { events: BreakerEvent[]; services?: boolean }) {
  return (
    <ol class="timeline" aria-label="Events, the newest first" tabIndex={services ? undefined : 0}>
      {[...events].reverse().map((e) => (
        <li key={e.id} data-look={look(e)}>
          <StateIcon state={look(e)} />
          <div>
            <div class="event-what">
              {services && e.service && <a href={serviceLink(e.service)}>{e.service}</a>}
              <b>{what(e)}</b>
              {e.proxy && <small class="mono">{e.proxy}</small>}
              {e.shadow && <span class="mark mark-shadow">shadow</span>}
            </div>
            {(e.cause || e.actor) && (
              <div class="event-why">
                {e.actor && <>by {e.actor}</>}
                {e.actor && e.cause && ": "}
                {e.cause}
                {e.until && (
                  <>
                    {" "}
                    (until <Moment at={e.until} />)
                  </>
                )}
              </div>
            )}
          </div>
          <div class="event-time">
            <Moment at={e.time} />
            <small>
              <Ago at={e.time} /> ago
            </small>
          </div>
        </li>
      ))}
    </ol>
  );
}
