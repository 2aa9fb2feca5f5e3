// All that the view of one service shows, asked for while it is open.

import { effect, signal } from "@preact/signals";
import { config } from "../live/config";
import { get } from "../live/http";
import { poll, type Poll } from "../live/poll";
import { changed, entries } from "../live/store";
import type { BreakerEvent, Explanation, GetBreaker, ListOrders, StandingOrder, Traffic } from "../wire";
import { History } from "./traffic";

export class ServiceData {
  readonly breaker = signal<GetBreaker | null>(null);
  readonly history = new History();
  /** Moves on with history. */
  readonly sampled = signal(0);
  readonly events = signal<BreakerEvent[]>([]);
  /** orders are the service's that stand. */
  readonly orders = signal<StandingOrder[]>([]);
  readonly explanation = signal<Explanation | null>(null);
  private readonly ends: (() => void)[] = [];
  private readonly path: string;
  /** asking is of the proxies, counting of the traffic, and explaining of the explanation. */
  readonly asking: Poll;
  readonly counting: Poll;
  readonly explaining: Poll;

  constructor(readonly name: string) {
    this.path = `api/v1/breakers/${encodeURIComponent(name)}`;
    this.asking = this.poll(1000, (s) => this.askBreaker(s));
    this.counting = this.poll(1000, (s) => this.askTraffic(s));
    const events = this.poll(2000, (s) => this.askEvents(s));
    const orders = this.poll(5000, (s) => this.askOrders(s));
    this.explaining = this.poll(10_000, (s) => this.askExplanation(s));
    this.ends.push(this.onChange([this.asking, events, orders, this.explaining]));
  }

  /** onChange asks again whenever something else is known to be the case, or another policy in force. */
  private onChange(polls: Poll[]): () => void {
    let last: string | undefined;
    return effect(() => {
      void changed.value;
      const breaker = entries.get(this.name)?.breaker.value;
      const is = breaker && [breaker.state, breaker.summary, breaker.overview.since, breaker.overview.shadow_state, config.value?.digest].join();
      if (last !== undefined && is !== last) for (const p of polls) p.again();
      last = is ?? last;
    });
  }

  /** poll is poll, while the service is served. */
  private poll(every: number, ask: (s: AbortSignal) => Promise<void>): Poll {
    const made = poll(every, async (s) => {
      if (entries.has(this.name)) await ask(s);
    });
    this.ends.push(made.end);
    return made;
  }

  close(): void {
    for (const end of this.ends) end();
  }

  private async askBreaker(s: AbortSignal): Promise<void> {
    this.breaker.value = await get<GetBreaker>(this.path, s);
  }

  private async askTraffic(s: AbortSignal): Promise<void> {
    if (this.history.add(await get<Traffic>(`${this.path}/traffic`, s))) this.sampled.value++;
  }

  private async askEvents(s: AbortSignal): Promise<void> {
    const { events } = await get<{ events: BreakerEvent[] }>(`api/v1/events?limit=50&service=${encodeURIComponent(this.name)}`, s);
    if (events.at(-1)?.id !== this.events.peek().at(-1)?.id || events.length !== this.events.peek().length) this.events.value = events;
  }

  private async askOrders(s: AbortSignal): Promise<void> {
    const { orders } = await get<ListOrders>("api/v1/orders", s);
    this.orders.value = orders.filter((o) => o.service === this.name);
  }

  private async askExplanation(s: AbortSignal): Promise<void> {
    this.explanation.value = await get<Explanation>(`${this.path}/explain`, s);
  }

  /** setting is an effective value of the policy, "" if it is not known. */
  setting(path: string): string {
    return this.explanation.value?.settings.find((s) => s.path === path)?.value ?? "";
  }
}
