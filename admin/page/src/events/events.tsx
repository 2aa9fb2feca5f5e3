// The view of all events, live.

import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isLive } from "../live/store";
import { openStream } from "../live/stream";
import { Timeline } from "../service/timeline";
import { Choice } from "../ui/choice";
import type { BreakerEvent } from "../wire";

/** kept is the number of events that are kept here. */
const kept = 500;

const groups: [string, string, (e: BreakerEvent) => boolean][] = [
  ["all", "All events", () => true],
  ["transition", "Transitions", (e) => e.kind === "transition" || e.kind === "lapse"],
  ["host", "Hosts", (e) => e.kind.startsWith("host_")],
  ["operator", "Operators' actions", (e) => e.actor !== ""],
];

const events = signal<BreakerEvent[]>([]);

/** followEvents keeps events up to date until the function that it returns is called. */
function followEvents(): () => void {
  let waiting: BreakerEvent[] = [];
  let timer = 0;
  // Each stream brings the last events again, after a restart perhaps those of another history.
  let anew = true;
  const flush = () => {
    timer = 0;
    const before = anew ? [] : events.value;
    const known = new Set(before.map((e) => e.id));
    anew = false;
    events.value = [...before, ...waiting.filter((e) => !known.has(e.id))].slice(-kept);
    waiting = [];
  };
  events.value = [];
  const close = openStream(
    () => `api/v1/events:watch?limit=${kept}`,
    {
      message: (_, data) => {
        waiting.push((JSON.parse(data) as { event: BreakerEvent }).event);
        timer ||= window.setTimeout(flush, 50);
      },
      // The stream of breakers says that the page is stale.
      down: () => (anew = true),
      paused: () => (anew = true),
    },
  );
  return () => {
    clearTimeout(timer);
    close();
  };
}

export function EventsView() {
  useEffect(followEvents, []);
  const text = useSignal("");
  const group = useSignal("all");
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = groups.find(([name]) => name === group.value)?.[2] ?? (() => true);
  const shown = events.value.filter((e) => {
    const all = `${e.service} ${e.proxy} ${e.kind} ${e.from} ${e.to} ${e.cause} ${e.actor} ${e.host}`.toLowerCase();
    return wanted(e) && words.every((w) => all.includes(w));
  });
  return (
    <>
      <div class="tools">
        <h1>Events</h1>
        <div class="search">
          <input
            id="search"
            type="search"
            placeholder="Search events"
            aria-label="Search events"
            autocomplete="off"
            value={text.value}
            onInput={(e) => (text.value = e.currentTarget.value)}
            onKeyDown={(e) => {
              if (e.key === "Escape") text.value = "";
            }}
          />
        </div>
        <Choice label="Show" value={group.value} options={groups.map(([value, name]) => [value, name])} choose={(value) => (group.value = value)} />
      </div>
      <section class={`card events ${isLive() ? "" : "service-stale"}`} aria-label="Events, the newest first">
        {shown.length === 0 ? <p class="empty">{events.value.length === 0 ? "Nothing has happened yet." : "No event is as you ask."}</p> : <Timeline events={shown} services />}
      </section>
    </>
  );
}
