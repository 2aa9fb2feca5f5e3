// What an operator can do: each action's words, and its call.

import { signal } from "@preact/signals";
import { post } from "../live/http";
import { version } from "../live/store";
import type { Breaker, ForgetAnswer, OrderAnswer, ResetAnswer, Unsaved } from "../wire";

export type Kind = Action["kind"];
export type Action = BreakerAction | ProxyAction;

/** BreakerAction is on the breaker of a service. */
export interface BreakerAction {
  kind: "reset" | "force-open" | "disable" | "release";
  service: string;
  /** Of one proxy alone. */
  proxy?: string;
  /** Of one host alone. */
  host?: string;
}

/** ProxyAction is on a disconnected proxy. */
export interface ProxyAction {
  kind: "forget";
  proxy: string;
}

export interface Order {
  actor: string;
  reason: string;
  /** In s; null for ever: until it is released. */
  ttl: number | null;
  /** Empty for all. */
  proxy: string;
}

/** Proof is what one proxy did, in the words of its own admin API. */
export interface Proof {
  proxy: string;
  /** It accepted what it was sent. */
  acknowledged: boolean;
  error: string;
  before: string;
  after: string;
  note: string;
}

export interface Outcome {
  ok: boolean;
  words: string;
  /** Why it is not saved; empty if it is. */
  unsaved: string;
  /** One for each proxy that has it to prove; null for what none has. */
  proofs: Proof[] | null;
}

/** acts reports whether there are actions: not where the page only shows. */
export const acts = () => version.value !== null && !version.value.read_only;

/** asked is the action whose confirmation is open. */
export const asked = signal<Action | null>(null);

export function act(action: Action): void {
  asked.value = action;
}

/** overrides reports whether an action gives an operator's override: for a time, and for a reason. */
export const overrides = (kind: Kind) => kind === "force-open" || kind === "disable";

/** unsaved says that what an action did is not saved, why, and what follows; empty if it is saved. */
export function unsaved(kind: Kind, { not_saved = false, not_saved_reason = "" }: Unsaved): string {
  if (!not_saved) return "";
  const follows = overrides(kind) ? "ends in at most 15 minutes" : "what it ended may be back after a restart";
  return `Not saved${not_saved_reason && `: ${not_saved_reason}`}; ${follows}.`;
}

export function title(action: Action): string {
  switch (action.kind) {
    case "reset":
      return action.host ? `Reset host ${action.host} of ${action.service}?` : `Reset ${action.service}?`;
    case "force-open":
      return `Force ${action.service} open?`;
    case "disable":
      return `Disable the breaker of ${action.service}?`;
    case "release":
      return `Release ${action.service}?`;
    case "forget":
      return `Forget proxy ${action.proxy}?`;
  }
}

export function verb(kind: Kind): string {
  return { reset: "Reset", "force-open": "Force open", disable: "Disable", release: "Release", forget: "Forget" }[kind];
}

const noProxy = "No proxy is connected now: those that connect later follow.";

/** effect says what will happen as breaker is now, of which the action is. fallback: callers have one; proxy: of one proxy alone. */
export function effect(action: Action, breaker: Breaker | null, proxy: string, fallback: boolean): string[] {
  if (action.kind === "forget") {
    return [
      "It leaves this list and what Prometheus scrapes, and the alerts about it end.",
      "This is for a proxy that was ended for good. If it connects again, it is back.",
    ];
  }
  const { kind, host } = action;
  const n = breaker?.overview.proxies ?? 0;
  if (n === 0) return [kind === "reset" ? "No proxy is connected now: if the service has an operator's override, that ends." : noProxy];
  const where = proxy ? `proxy ${proxy}` : n === 1 ? "the one connected proxy" : `all ${n.toLocaleString("en")} connected proxies`;
  switch (kind) {
    case "reset":
      if (host) return [`Every proxy takes ${host} back into rotation. If it still fails, it will be ejected again.`];
      return [
        `The breaker is closed on ${where}: windows are emptied, ejected hosts are taken back, and operators' overrides end.`,
        "Requests flow again at once. If the service still fails, the breaker will open again.",
      ];
    case "force-open":
      return [
        `No request reaches the service through ${where}${proxy ? "" : ", nor through those that connect later"}.`,
        fallback ? "Callers get the policy's fallback at once." : "Callers get a 503 with x-circuit-breaker: open at once.",
      ];
    case "disable":
      return [`Every request reaches the service, whatever fails, through ${where} and those that connect later.`, "The breaker does not open, and no host is ejected: nothing protects the service."];
    case "release":
      return [`The override ends on ${where}: the breaker is closed, with an empty window, and decides by itself again.`];
  }
}

/** perform carries the action out and returns what the proxies reported. Its errors are APIErrors. */
export async function perform(action: Action, order: Order): Promise<Outcome> {
  const { actor, reason } = order;
  if (action.kind === "forget") {
    const answer = await post<ForgetAnswer>(`api/v1/proxies/${encodeURIComponent(action.proxy)}/forget`, { actor, reason });
    return { ok: true, words: `Proxy ${action.proxy} is forgotten.`, unsaved: unsaved(action.kind, answer), proofs: null };
  }
  const path = `api/v1/breakers/${encodeURIComponent(action.service)}/${action.kind}`;
  if (action.kind === "reset") {
    const answer = await post<ResetAnswer>(path, { actor, reason, ...(action.host ? { host: action.host } : {}) });
    return {
      ok: answer.ok,
      words: answer.pushed || !answer.ok ? holds(action.kind, answer) : "There was nothing to clear.",
      unsaved: unsaved(action.kind, answer),
      proofs: answer.proxies.map((p) => ({
        proxy: p.proxy,
        acknowledged: p.acknowledged,
        error: p.error,
        before: [p.from.replaceAll("_", " "), ejected(p.ejected_before)].filter(Boolean).join(", "),
        after: ejected(p.ejected_after) || (p.error ? "unknown" : "none ejected"),
        note: p.note,
      })),
    };
  }
  const answer = await post<OrderAnswer>(path, {
    actor,
    reason,
    ...(order.proxy && action.kind !== "disable" ? { proxy: order.proxy } : {}),
    ...(overrides(action.kind) ? (order.ttl === null ? { for_ever: true } : { ttl: `${order.ttl.toFixed(9)}s` }) : {}),
  });
  return {
    ok: answer.ok,
    words: holds(action.kind, answer),
    unsaved: unsaved(action.kind, answer),
    proofs: answer.proxies.map((p) => ({
      proxy: p.proxy,
      acknowledged: p.acknowledged,
      error: p.error,
      before: "",
      after: p.state.replaceAll("_", " "),
      note: p.note,
    })),
  };
}

/** holds says what an action has done that no proxy has proved. */
function holds(kind: Kind, { ok, proxies }: OrderAnswer | ResetAnswer): string {
  if (ok || proxies.some((p) => p.acknowledged)) return "";
  const none = proxies.length === 0 ? ": none is connected" : "";
  const follow = proxies.length === 0 ? "those that connect later" : "a proxy once it answers";
  const what = overrides(kind) ? `The override holds all the same, for ${follow}.` : "An operator's override has ended all the same.";
  return `It reached no proxy${none}. ${what}`;
}

function ejected(hosts: string[]): string {
  return hosts.length > 0 ? `${hosts.join(", ")} ejected` : "";
}
