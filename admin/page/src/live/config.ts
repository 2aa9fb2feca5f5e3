// The state of the policies, which the header, a service's view and that of the configuration show.

import { computed, signal } from "@preact/signals";
import type { ConfigStatus } from "../wire";
import { request } from "./http";
import { poll } from "./poll";

export const config = signal<ConfigStatus | null>(null);
/** faults is how much of what is on disk is not in force. */
export const faults = computed(() => {
  const c = config.value;
  return c ? c.problems.filter((p) => p.severity === "error").length + c.rejections.length : 0;
});

let text = "";
let open: Promise<void> | null = null;

/** askConfig brings config up to date. Who asks while the question is open gets its answer. Its errors are APIErrors. */
export function askConfig(): Promise<void> {
  open ??= ask().finally(() => (open = null));
  return open;
}

async function ask(): Promise<void> {
  const answer = await request("api/v1/config");
  if (answer === text) return;
  text = answer;
  config.value = JSON.parse(answer) as ConfigStatus;
}

/** followConfig keeps config up to date for as long as the page lives. */
export function followConfig(): void {
  poll(5000, askConfig);
}
