// The state of the policies, of what Breakwater saves and of the proxies, which the header and several views show.

import { computed, signal } from "@preact/signals";
import type { ConfigStatus, ListProxies } from "../wire";
import { request } from "./http";
import { poll } from "./poll";

export const config = signal<ConfigStatus | null>(null);
export const proxies = signal<ListProxies | null>(null);

/** storageFaults are what cannot be saved now. */
export const storageFaults = computed(() => config.value?.storage_faults ?? []);

/** faults is how much of what is on disk is not in force, is not saved, or is wrong with a proxy; more: at least. */
export const faults = computed(() => {
  const c = config.value;
  const policies = c ? c.problems.filter((p) => p.severity === "error").length + c.rejections.length : 0;
  const connected = proxies.value?.proxies ?? [];
  const count = policies + storageFaults.value.length + connected.reduce((n, p) => n + (p.faults?.length ?? 0), 0);
  // Errors come first: what is left out may be some if nothing else was let in.
  const errors = (c?.more_problems ?? 0) > 0 && c?.problems.every((p) => p.severity === "error") === true;
  const more = errors || (c?.more_rejections ?? 0) > 0;
  return { count, more };
});

/**
 * asking keeps what is answered at path as it is now. Who asks while the question is open gets its answer. Its errors are
 * APIErrors.
 */
function asking(path: string, take: (answer: string) => void): () => Promise<void> {
  let text = "";
  let open: Promise<void> | null = null;
  const ask = async () => {
    const answer = await request(path);
    if (answer === text) return;
    text = answer;
    take(answer);
  };
  return () => (open ??= ask().finally(() => (open = null)));
}

export const askConfig = asking("api/v1/config", (answer) => (config.value = JSON.parse(answer) as ConfigStatus));
export const askProxies = asking("api/v1/proxies", (answer) => (proxies.value = JSON.parse(answer) as ListProxies));

/** followConfig keeps both up to date for as long as the page lives. */
export function followConfig(): void {
  poll(5000, askConfig);
  poll(15_000, askProxies);
}
