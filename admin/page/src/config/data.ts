// What the view of the configuration shows, asked for while it is open.

import { signal } from "@preact/signals";
import { askConfig } from "../live/config";
import { get } from "../live/http";
import { poll } from "../live/poll";
import type { ListProxies } from "../wire";

export class ConfigData {
  readonly proxies = signal<ListProxies | null>(null);
  readonly asking = poll(1500, (s) => this.ask(s));

  close(): void {
    this.asking.end();
  }

  private async ask(s: AbortSignal): Promise<void> {
    const [, proxies] = await Promise.all([askConfig(), get<ListProxies>("api/v1/proxies", s)]);
    this.proxies.value = proxies;
  }
}
