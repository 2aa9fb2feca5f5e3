// The messages of admin.proto as the HTTP API writes them: the proto's field names, a uint64 as
// a string, a timestamp as RFC 3339, a duration as "90s", and null for what is unset.

export type State = "closed" | "open" | "half_open" | "forced_open" | "disabled" | "unknown";
export type Timestamp = string | null;
export type Uint64 = string;

/** Unsaved is on what an operator has ordered and Breakwater could not store. */
export interface Unsaved {
  not_saved?: boolean;
  not_saved_reason?: string;
}

export interface Order {
  state: State;
  actor: string;
  reason: string;
  until: Timestamp;
}

export interface Overview {
  cause: string;
  since: Timestamp;
  until: Timestamp;
  proxies: number;
  proxies_in_state: number;
  ejected_hosts: number;
  total_hosts: number;
  attempts: Uint64;
  failures: Uint64;
  shadow: boolean;
  shadow_state: State | "";
  order: Order | null;
  overloaded: boolean;
  /** Half-open everywhere in its state without traffic. */
  waiting?: boolean;
}

export interface Host {
  address: string;
  ejected: boolean;
  unhealthy: boolean;
  requests: Uint64;
  errors: Uint64;
}

export interface ProxyBreaker {
  proxy: string;
  state: State;
  cause: string;
  since: Timestamp;
  until: Timestamp;
  hosts: Host[];
  ejected_hosts: number;
  total_hosts: number;
  requests: Uint64;
  errors: Uint64;
  recent_errors: Uint64;
  overloaded: boolean;
  attempts: Uint64;
  failures: Uint64;
  recent_attempts: Uint64;
  successes: Uint64;
  shadow: boolean;
  shadow_state: State | "";
  order: Order | null;
  waiting?: boolean;
}

export interface Breaker {
  service: string;
  state: State;
  summary: string;
  proxies: ProxyBreaker[];
  overview: Overview;
}

export interface WatchBreakers {
  snapshot: boolean;
  breakers: Breaker[];
  removed: string[];
  /** The next message goes on with this snapshot. */
  more?: boolean;
}

export interface WindowBatch {
  attempts: Uint64;
  failures: Uint64;
}

export interface ProxyWindow {
  proxy: string;
  size: number;
  batches: WindowBatch[];
  failure_threshold: number;
  failure_rate: number;
  min_requests: number;
  slow_rate: number;
  slow_min_requests: number;
  measured: Uint64;
  slow: Uint64;
}

export interface GetBreaker {
  breaker: Breaker;
  windows: ProxyWindow[];
}

export interface OutcomeCount {
  outcome: "success" | "error" | "circuit_open" | "overloaded" | "fallback";
  total: Uint64;
}

export interface LatencyBucket {
  upper: string | null;
  count: Uint64;
}

export interface ProxyTraffic {
  proxy: string;
  error: string;
  outcomes: OutcomeCount[];
  retries: Uint64;
  latency: LatencyBucket[];
}

export interface Traffic {
  service: string;
  time: Timestamp;
  proxies: ProxyTraffic[];
}

/** ServiceHistory has a number for each bucket, or none at all if all are 0. */
export interface ServiceHistory {
  service: string;
  attempts: number[];
  failures: number[];
  refused: number[];
}

export interface History {
  since: Timestamp;
  start: string;
  end: string;
  step: string;
  proxies: number[];
  services: ServiceHistory[];
}

export interface BreakerEvent {
  id: Uint64;
  time: string;
  kind: string;
  service: string;
  proxy: string;
  from: State | "";
  to: State | "";
  cause: string;
  actor: string;
  shadow: boolean;
  host: string;
  until: Timestamp;
}

export interface Position {
  file: string;
  line: number;
  column: number;
}

export interface Finding {
  proxies: string[];
  what: string;
  advice: string;
}

export interface FailureCount {
  stat: string;
  flag: string;
  meaning: string;
  total: Uint64;
  recent: Uint64;
}

export interface ProxyCounts {
  proxy: string;
  counts: FailureCount[];
  error: string;
}

export interface Setting {
  path: string;
  value: string;
  layer: string;
  variable: string;
  position: Position | null;
  clamped: boolean;
}

export interface Explanation {
  breaker: Breaker;
  findings: Finding[];
  counts: ProxyCounts[];
  settings: Setting[];
}

export interface SourceLine {
  line: number;
  text: string;
}

export interface Problem {
  severity: "error" | "warning";
  position: Position | null;
  service: string;
  path: string;
  message: string;
  rule: string;
  excerpt: SourceLine[];
}

export interface Rejection {
  service: string;
  type_url: string;
  resource: string;
  proxies: string[];
  message: string;
  partial: boolean;
  position: Position | null;
  excerpt: SourceLine[];
}

/** StorageFault is a document that cannot be saved, or was corrupt. */
export interface StorageFault {
  document: string;
  error: string;
  since: Timestamp;
  corrupt: boolean;
}

export interface ConfigStatus {
  ok: boolean;
  digest: string;
  last_success: Timestamp;
  last_attempt: Timestamp;
  services: number;
  problems: Problem[];
  rejections: Rejection[];
  stale_services: string[];
  /** The problems that there are beside those in problems. */
  more_problems?: number;
  more_rejections?: number;
  storage_faults?: StorageFault[];
}

export interface Proxy {
  id: string;
  node_cluster: string;
  version: string;
  address: string;
  admin_address: string;
  connected_since: Timestamp;
  admin_reachable: boolean;
  admin_error: string;
  last_load_report: Timestamp;
  faults?: string[];
}

export interface DisconnectedProxy {
  id: string;
  node_cluster: string;
  admin_address: string;
  left: Timestamp;
  replaced?: boolean;
}

export interface ListProxies {
  proxies: Proxy[];
  missed: DisconnectedProxy[];
}

export interface ForgetAnswer extends Unsaved {
  proxy: DisconnectedProxy;
}

export interface Version {
  version: string;
  started: Timestamp;
  read_only: boolean;
}

export interface ProxyOrder {
  proxy: string;
  acknowledged: boolean;
  state: State;
  note: string;
  error: string;
}

export interface ProxyReset {
  proxy: string;
  acknowledged: boolean;
  ejected_before: string[];
  ejected_after: string[];
  note: string;
  error: string;
  from: State;
}

export interface StandingOrder extends Unsaved {
  service: string;
  /** Empty for all. */
  proxy: string;
  since: Timestamp;
  order: Order;
}

export interface ListOrders {
  orders: StandingOrder[];
}

export interface OrderAnswer extends Unsaved {
  service: string;
  ok: boolean;
  until?: Timestamp;
  proxies: ProxyOrder[];
}

export interface ResetAnswer extends Unsaved {
  service: string;
  host: string;
  ok: boolean;
  pushed: boolean;
  generation: Uint64;
  proxies: ProxyReset[];
}

export interface Effect {
  severity: "info" | "warning";
  text: string;
  proxies: string[];
}

export interface SettingChange {
  path: string;
  from: string;
  to: string;
  position: Position | null;
}

export interface ServicePlan {
  /** Empty for what concerns all. */
  service: string;
  action: "added" | "removed" | "changed" | "kept";
  settings: SettingChange[];
  effects: Effect[];
}

export interface ResourcePlan {
  type_url: string;
  name: string;
  action: "added" | "removed" | "changed";
  diff: string;
}

export interface Plan {
  ok: boolean;
  problems: Problem[];
  services: ServicePlan[];
  resources: ResourcePlan[];
  digest: string;
  more_problems?: number;
}
