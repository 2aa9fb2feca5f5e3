// All that the view of one service shows, asked for while it is open.

import { effect, signal } from "@preact/signals";
import { config } from "../live/config";
import { get } from "../live/http";
import { poll, type Poll } from "../live/poll";
import { changed, entries } from "../live/store";
import type { BreakerEvent, Explanation, GetBreaker, Traffic } from "../wire";
import { History } from "./traffic";

export class ServiceData {
  readonly breaker = signal<GetBreaker | null>(null);
  /** Why the proxies are not known now, "" if they are. */
  readonly breakerError = signal("");
  readonly history = new History();
  /** Moves on with history. */
  readonly sampled = signal(0);
  readonly trafficError = signal("");
  readonly events = signal<BreakerEvent[]>([]);
  readonly explanation = signal<Explanation | null>(null);
  readonly explainError = signal("");
  private readonly ends: (() => void)[] = [];
  private readonly path: string;
  private readonly asking: Poll;

  constructor(readonly name: string) {
    this.path = `api/v1/breakers/${encodeURIComponent(name)}`;
    this.asking = this.poll(1000, (s) => this.askBreaker(s));
    this.poll(1000, (s) => this.askTraffic(s));
    const events = this.poll(2000, (s) => this.askEvents(s));
    const explanation = this.poll(10_000, (s) => this.askExplanation(s));
    this.ends.push(this.onChange([this.asking, events, explanation]));
  }

  /** late: the proxies are known as they were some seconds ago, not as they are. */
  get late(): boolean {
    return this.asking.late.value;
  }

  /** slow: they are because the answer does not come. */
  get slow(): boolean {
    return this.asking.slow.value;
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
    try {
      this.breaker.value = await get<GetBreaker>(this.path, s);
      this.breakerError.value = "";
    } catch (err) {
      if (!s.aborted) this.breakerError.value = (err as Error).message;
    }
  }

  private async askTraffic(s: AbortSignal): Promise<void> {
    try {
      if (this.history.add(await get<Traffic>(`${this.path}/traffic`, s))) this.sampled.value++;
      this.trafficError.value = "";
    } catch (err) {
      if (!s.aborted) this.trafficError.value = (err as Error).message;
    }
  }

  private async askEvents(s: AbortSignal): Promise<void> {
    try {
      const { events } = await get<{ events: BreakerEvent[] }>(`api/v1/events?limit=50&service=${encodeURIComponent(this.name)}`, s);
      if (events.at(-1)?.id !== this.events.peek().at(-1)?.id || events.length !== this.events.peek().length) this.events.value = events;
    } catch {
      // They stay as they were; the connection's own state says if Breakwater is gone.
    }
  }

  private async askExplanation(s: AbortSignal): Promise<void> {
    try {
      this.explanation.value = await get<Explanation>(`${this.path}/explain`, s);
      this.explainError.value = "";
    } catch (err) {
      if (!s.aborted) this.explainError.value = (err as Error).message;
    }
  }

  /** setting is an effective value of the policy, "" if it is not known. */
  setting(path: string): string {
    return this.explanation.value?.settings.find((s) => s.path === path)?.value ?? "";
  }
}
