// What the page knows of all breakers, kept up to date by the stream of summaries.

import { batch, signal, type Signal } from "@preact/signals";
import type { Breaker, Version, WatchBreakers } from "../wire";
import { everySecond, serverNow } from "./clock";
import { get } from "./http";
import { Meter } from "./meter";
import { openStream } from "./stream";

/** Entry is one service on the board. Only what reads one of its signals is drawn again when it changes. */
export interface Entry {
  readonly name: string;
  readonly breaker: Signal<Breaker>;
  readonly meter: Meter;
  /** Moves on with the meter, if there is something new to see in it. */
  readonly measured: Signal<number>;
}

export type Connection =
  | { phase: "connecting" }
  | { phase: "live" }
  /** Nothing that is shown is known to hold. since: when it last did, server time in ms, 0 for never. */
  | { phase: "stale"; since: number; why: string; retryAt: number };

export const connection = signal<Connection>({ phase: "connecting" });
export const entries = new Map<string, Entry>();
/** changed moves on with every message that changed a breaker. */
export const changed = signal(0);
/** measured moves on once a second. */
export const measured = signal(0);
export const version = signal<Version | null>(null);

let askingVersion = false;
/** What is served as far as the snapshot has been read that is under way; null if none is. */
let served: Set<string> | null = null;

export const isLive = () => connection.value.phase === "live";

/** follow keeps all of it up to date for as long as the page lives. */
export function follow(): void {
  openStream(() => "api/v1/breakers:watch?summary=true", {
    message: (_, data) => take(JSON.parse(data) as WatchBreakers),
    down: (why, retryIn) => {
      const had = connection.value;
      const since = had.phase === "stale" ? had.since : had.phase === "live" ? serverNow() : 0;
      connection.value = { phase: "stale", since, why, retryAt: performance.now() + retryIn };
    },
    paused: () => (connection.value = { phase: "connecting" }),
  });
  everySecond(sample);
}

function take(message: WatchBreakers): void {
  batch(() => {
    if (message.snapshot) {
      served = new Set();
      for (const entry of entries.values()) entry.meter.forget();
    }
    for (const breaker of message.breakers) {
      served?.add(breaker.service);
      const entry = entries.get(breaker.service);
      if (entry) entry.breaker.value = breaker;
      else entries.set(breaker.service, newEntry(breaker));
    }
    for (const name of message.removed) entries.delete(name);
    if (served && !message.more) {
      for (const name of entries.keys()) if (!served.has(name)) entries.delete(name);
      served = null;
      connection.value = { phase: "live" };
      void askVersion();
    }
    changed.value++;
  });
}

function newEntry(breaker: Breaker): Entry {
  return { name: breaker.service, breaker: signal(breaker), meter: new Meter(), measured: signal(0) };
}

function sample(): void {
  if (!isLive()) return;
  if (version.value === null && !askingVersion) void askVersion();
  batch(() => {
    for (const entry of entries.values()) {
      const { attempts, failures } = entry.breaker.peek().overview;
      if (entry.meter.sample(Number(attempts), Number(failures))) entry.measured.value++;
    }
    measured.value++;
  });
}

/** askVersion is asked after each connect: another Breakwater may answer now. */
async function askVersion(): Promise<void> {
  askingVersion = true;
  try {
    version.value = await get<Version>("api/v1/version");
  } catch {
    // Without an answer the page shows no actions; sample asks again.
    version.value = null;
  }
  askingVersion = false;
}
