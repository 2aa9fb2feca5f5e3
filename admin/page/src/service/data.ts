// All that the view of one service shows, asked for while it is open.

import { signal } from "@preact/signals";
import { get } from "../live/http";
import { poll } from "../live/poll";
import { entries } from "../live/store";
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

  constructor(readonly name: string) {
    this.path = `api/v1/breakers/${encodeURIComponent(name)}`;
    this.ends.push(
      this.poll(1000, (s) => this.askBreaker(s)),
      this.poll(1000, (s) => this.askTraffic(s)),
      this.poll(2000, (s) => this.askEvents(s)),
      this.poll(10_000, (s) => this.askExplanation(s)),
    );
  }

  /** poll is poll, while the service is served. */
  private poll(every: number, ask: (s: AbortSignal) => Promise<void>): () => void {
    return poll(every, async (s) => {
      if (entries.has(this.name)) await ask(s);
    });
  }

  close(): void {
    for (const end of this.ends) end();
  }

  private async askBreaker(s: AbortSignal): Promise<void> {
    try {
      const was = this.breaker.peek()?.breaker;
      const answer = await get<GetBreaker>(this.path, s);
      this.breaker.value = answer;
      this.breakerError.value = "";
      const is = answer.breaker;
      if (was && (was.state !== is.state || was.overview.since !== is.overview.since)) {
        void this.askExplanation(s);
        void this.askEvents(s);
      }
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

  async askExplanation(s?: AbortSignal): Promise<void> {
    try {
      this.explanation.value = await get<Explanation>(`${this.path}/explain`, s);
      this.explainError.value = "";
    } catch (err) {
      if (!s?.aborted) this.explainError.value = (err as Error).message;
    }
  }

  /** setting is an effective value of the policy, "" if it is not known. */
  setting(path: string): string {
    return this.explanation.value?.settings.find((s) => s.path === path)?.value ?? "";
  }
}
