// What the view of the configuration shows, asked for while it is open.

import { signal } from "@preact/signals";
import { get } from "../live/http";
import { poll } from "../live/poll";
import type { ConfigStatus, Proxy } from "../wire";

export class ConfigData {
  readonly status = signal<ConfigStatus | null>(null);
  readonly proxies = signal<Proxy[] | null>(null);
  readonly error = signal("");
  private readonly end: () => void;

  constructor() {
    this.end = poll(2000, (s) => this.ask(s));
  }

  close(): void {
    this.end();
  }

  private async ask(s: AbortSignal): Promise<void> {
    try {
      this.status.value = await get<ConfigStatus>("/api/v1/config", s);
      this.proxies.value = (await get<{ proxies: Proxy[] }>("/api/v1/proxies", s)).proxies;
      this.error.value = "";
    } catch (err) {
      if (!s.aborted) this.error.value = (err as Error).message;
    }
  }
}
