// What the view of the configuration shows, asked for while it is open.

import { signal } from "@preact/signals";
import { askConfig } from "../live/config";
import { get } from "../live/http";
import { poll, type Poll } from "../live/poll";
import type { ListProxies } from "../wire";

export class ConfigData {
  readonly proxies = signal<ListProxies | null>(null);
  readonly error = signal("");
  private readonly asking: Poll;

  constructor() {
    this.asking = poll(1500, (s) => this.ask(s));
  }

  /** slow: what is shown is older than it should be, for the answer does not come. */
  get slow(): boolean {
    return this.asking.slow.value;
  }

  close(): void {
    this.asking.end();
  }

  private async ask(s: AbortSignal): Promise<void> {
    try {
      const [, proxies] = await Promise.all([askConfig(), get<ListProxies>("api/v1/proxies", s)]);
      this.proxies.value = proxies;
      this.error.value = "";
    } catch (err) {
      if (!s.aborted) this.error.value = (err as Error).message;
    }
  }
}
