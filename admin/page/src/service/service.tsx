// The view of one service.

import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { act, acts, unsaved, type BreakerAction } from "../actions/action";
import { ActionDialog } from "../actions/dialog";
import { Hosts, Marks, Times } from "../board/row";
import { Problems, Rejections } from "../config/problems";
import { config } from "../live/config";
import { useSeries } from "../live/history";
import { changed, entries, isLive } from "../live/store";
import { clockTime, milliseconds, perSecond } from "../ui/format";
import { columns, story } from "../ui/history";
import { Plot, type Line } from "../ui/plot";
import { StateBadge } from "../ui/states";
import type { Breaker, StandingOrder } from "../wire";
import { ServiceData } from "./data";
import { Explain } from "./explain";
import { Machine } from "./machine";
import { Policy } from "./policy";
import { Proxies } from "./proxies";
import { Timeline } from "./timeline";
import { Windows } from "./window";

const attemptLines: Line[] = [
  { label: "attempts", colour: "--plot-1" },
  { label: "failed", colour: "--plot-2", dash: [6, 3] },
  { label: "refused", colour: "--plot-3", dash: [10, 3, 2, 3] },
];
const outcomeLines: Line[] = [
  { label: "success", colour: "--plot-1" },
  { label: "error", colour: "--plot-2", dash: [6, 3] },
  { label: "circuit open", colour: "--plot-4", dash: [2, 3] },
  { label: "overloaded", colour: "--plot-3", dash: [10, 3, 2, 3] },
  { label: "fallback", colour: "--plot-5", dash: [10, 4] },
];
const latencyLines: Line[] = [
  { label: "p50", colour: "--plot-1" },
  { label: "p95", colour: "--plot-5", dash: [8, 3] },
  { label: "p99", colour: "--plot-4", dash: [3, 3] },
];

export function ServiceView({ name }: { name: string }) {
  const data = useMemo(() => new ServiceData(name), [name]);
  useEffect(() => () => data.close(), [data]);
  void changed.value;

  const entry = entries.get(name);
  const summary = entry?.breaker.value;
  const detail = data.breaker.value;
  // The stream of summaries is ahead of the answers: the state is the stream's.
  const breaker: Breaker | null = detail ? { ...detail.breaker, ...(summary && { state: summary.state, summary: summary.summary, overview: summary.overview }) } : (summary ?? null);
  if (!breaker) {
    return isLive() ? (
      <p class="empty">
        No policy names a service <b>{name}</b>. <a href="#/">All breakers</a>
      </p>
    ) : (
      <p class="empty">Waiting for Breakwater…</p>
    );
  }
  if (isLive() && !entry) {
    return (
      <p class="empty" role="status">
        The service <b>{name}</b> is no longer served. <a href="#/">All breakers</a>
      </p>
    );
  }
  const { asking } = data;
  const lost = !isLive() ? "" : asking.error.value ? `Breakwater cannot be asked now: ${asking.error.value}` : detail && asking.slow.value ? "Breakwater answers slowly." : "";
  const known = !lost && !(detail && asking.late.value);
  const fallback = data.explanation.value?.settings.some((s) => s.path.startsWith("fallback.") && s.value !== "off") ?? false;
  return (
    <article class={`service ${isLive() ? "" : "service-stale"}`} data-service={name} data-state={isLive() ? breaker.state : "unknown"}>
      <Head breaker={breaker} orders={isLive() ? data.orders.value : []} />
      <div class="cards">
        <Card title="State machine" area="machine">
          {lost && <Lost why={lost} />}
          <Machine breaker={breaker} known={known} policy={(path) => data.setting(path)} />
        </Card>
        <Card title="Why requests fail now" area="explain">
          <Explain data={data} state={breaker.state} />
        </Card>
        <Card title="Traffic" area="traffic" note={data.counting.error.value}>
          <Attempts name={name} />
          <Traffic data={data} />
        </Card>
        <Card title="Window" area="window">
          {lost && <Lost why={lost} />}
          <Windows windows={detail?.windows ?? []} still={breaker.state !== "closed" && breaker.state !== "unknown"} />
        </Card>
        <Card title="Proxies and hosts" area="proxies">
          {lost && <Lost why={lost} />}
          <Proxies breaker={breaker} known={known} />
        </Card>
        <Card title="Events" area="events">
          {data.events.value.length === 0 ? <p class="faint">Nothing has happened yet.</p> : <Timeline events={data.events.value} />}
        </Card>
        <Card title="Policy in force" area="policy">
          <Findings name={name} />
          {data.explanation.value && <Policy settings={data.explanation.value.settings} />}
        </Card>
      </div>
      <ActionDialog breaker={breaker} known={known} fallback={fallback} />
    </article>
  );
}

function Head({ breaker, orders }: { breaker: Breaker; orders: StandingOrder[] }) {
  const { service, state, overview } = breaker;
  return (
    <div class="service-head">
      <div class="service-title">
        <h1>{service}</h1>
        <StateBadge state={state} stale={!isLive()} waiting={overview.waiting} part={overview.proxies_in_state < overview.proxies} large />
        <Marks breaker={breaker} />
      </div>
      <p class="service-cause">{overview.cause}</p>
      {orders.filter((o) => o.not_saved).map((o) => (
        <p key={o.proxy} class="warn not-saved">
          {o.proxy && <span class="mono">{o.proxy}: </span>}
          {unsaved(o.order.state === "disabled" ? "disable" : "force-open", o)}
        </p>
      ))}
      <div class="service-facts">
        <Times breaker={breaker} />
        <span>{isLive() && breaker.summary.replaceAll("_", " ")}</span>
        <span>
          hosts <Hosts breaker={breaker} />
        </span>
      </div>
      {acts() && <Actions breaker={breaker} />}
    </div>
  );
}

function Actions({ breaker }: { breaker: Breaker }) {
  const button = (kind: BreakerAction["kind"], words: string) => (
    <button type="button" class="button" disabled={!isLive()} onClick={() => act({ kind, service: breaker.service })}>
      {words}
    </button>
  );
  return (
    <div class="service-actions">
      {button("reset", "Reset")}
      {breaker.overview.order && button("release", "Release")}
      {button("force-open", "Force open")}
      {button("disable", "Disable")}
    </div>
  );
}

/** Attempts are those of the last 15 minutes. */
function Attempts({ name }: { name: string }) {
  const series = useSeries(name);
  const at = series.moved.value;
  const data = useMemo(() => columns(series), [series, at]);
  return <Plot title="Attempts per second at the service" lines={attemptLines} data={data} format={perSecond} top={1} notes={story(series.spans())} />;
}

/** Traffic is what is counted while somebody looks. */
function Traffic({ data }: { data: ServiceData }) {
  const at = data.sampled.value;
  const rates = useMemo(() => data.history.rates(), [data, at]);
  const times = useMemo(() => data.history.percentiles(), [data, at]);
  const begin = data.history.begin();
  const notes = begin === null ? [] : [`Counted since ${clockTime(begin * 1000)}, while this view is open.`];
  return (
    <>
      <Plot title="Requests per second by outcome" lines={outcomeLines} data={rates} format={perSecond} top={1} notes={notes} />
      <Plot title="Latency, interpolated in Envoy's buckets" lines={latencyLines} data={times} format={milliseconds} top={10} />
      {data.history.errors.map((p) => (
        <p key={p.proxy} class="bad">
          {p.proxy}: {p.error}
        </p>
      ))}
    </>
  );
}

/** Lost says that what is shown of the proxies is old. */
function Lost({ why }: { why: string }) {
  return <p class="failed">This is what was known last. {why}</p>;
}

/** Findings are what is wrong with the policy on disk, and what proxies refuse of it. */
function Findings({ name }: { name: string }) {
  const status = config.value;
  if (!status) return null;
  const { stale_services, problems, rejections } = status;
  return (
    <>
      {stale_services.includes(name) && (
        <p class="failed">The policy on disk has an error: the last good version is in force.</p>
      )}
      <Problems problems={problems.filter((p) => p.service === name)} />
      <Rejections rejections={rejections.filter((r) => r.service === name)} />
    </>
  );
}

function Card({ title, area, note, children }: { title: string; area: string; note?: string; children: ComponentChildren }) {
  return (
    <section class={`card card-${area}`} aria-label={title}>
      <h2>{title}</h2>
      {note && <p class="bad">{note}</p>}
      {children}
    </section>
  );
}
