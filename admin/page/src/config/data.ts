// What the view of the configuration shows, asked for while it is open.

import { signal } from "@preact/signals";
import { askConfig } from "../live/config";
import { get } from "../live/http";
import { poll } from "../live/poll";
import type { ListProxies } from "../wire";

export class ConfigData {
  readonly proxies = signal<ListProxies | null>(null);
  readonly error = signal("");
  private readonly end: () => void;

  constructor() {
    this.end = poll(1500, (s) => this.ask(s));
  }

  close(): void {
    this.end();
  }

  private async ask(s: AbortSignal): Promise<void> {
    try {
      await askConfig(s);
      this.proxies.value = await get<ListProxies>("api/v1/proxies", s);
      this.error.value = "";
    } catch (err) {
      if (!s.aborted) this.error.value = (err as Error).message;
    }
  }
}
