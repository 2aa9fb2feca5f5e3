// The view of the configuration: what is served, what is wrong with what is on disk, what
// proxies refuse, and what a change would do.

import { Fragment } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { act, acts } from "../actions/action";
import { ActionDialog } from "../actions/dialog";
import { config, proxies } from "../live/config";
import { isLive, version } from "../live/store";
import { count } from "../ui/format";
import { serviceLink } from "../ui/route";
import { Table } from "../ui/table";
import { Ago, Moment } from "../ui/time";
import type { ConfigStatus, DisconnectedProxy, Proxy, Timestamp } from "../wire";
import { followView } from "./data";
import { Planner } from "./plan";
import { More, Problems, Rejections } from "./problems";

export function ConfigView() {
  const asking = useMemo(followView, []);
  useEffect(() => asking.end, [asking]);
  const status = config.value;
  const { error, slow } = asking;
  return (
    <div class={isLive() ? "config" : "config service-stale"}>
      <h1>Configuration</h1>
      {error.value && <p class="failed">{error.value}</p>}
      {isLive() && status && !error.value && slow.value && <p class="failed">This is what was known last. Breakwater answers slowly.</p>}
      {!status ? <p class="empty">Waiting for Breakwater…</p> : <Status status={status} />}
      {proxies.value && <Proxies proxies={proxies.value.proxies} />}
      {proxies.value && <Disconnected proxies={proxies.value.missed.filter((p) => !p.replaced)} />}
      {proxies.value && <Disconnected proxies={proxies.value.missed.filter((p) => p.replaced)} replaced />}
      <Planner />
      <ActionDialog />
    </div>
  );
}

function Status({ status }: { status: ConfigStatus }) {
  const errors = status.problems.filter((p) => p.severity === "error").length;
  const warnings = status.problems.length - errors;
  const rejected = errors > 0 || status.rejections.length > 0;
  return (
    <section class="card" aria-label="Policies" data-config={status.ok ? "ok" : "rejected"}>
      <h2>Policies</h2>
      <p class={rejected ? "bad" : "good"}>
        {rejected ? <b>Not all that is on disk is in force.</b> : <b>All that is on disk is in force.</b>}{" "}
        {rejected && "The last good version of each policy goes on serving; other edits are live."}
      </p>
      <dl class="facts">
        <Fact name="Services" value={String(status.services)} />
        <Fact name="Digest of what is served" value={status.digest} mono />
        <When name="Last clean reload" at={status.last_success} />
        <When name="Last reload attempt" at={status.last_attempt} />
        {version.value && <Fact name="Breakwater" value={version.value.version} mono />}
        {version.value && <When name="Started" at={version.value.started} />}
      </dl>
      {status.stale_services.length > 0 && (
        <p class="config-stale">
          Served by their last good version:{" "}
          {status.stale_services.map((s, i) => (
            <Fragment key={s}>
              {i > 0 && ", "}
              <a href={serviceLink(s)}>{s}</a>
            </Fragment>
          ))}
        </p>
      )}
      <Rejections rejections={status.rejections} services />
      <More of={status.more_rejections} />
      {status.problems.length > 0 && (
        <h3>
          {[errors > 0 && count(errors, "error", "errors"), warnings > 0 && count(warnings, "warning", "warnings")].filter(Boolean).join(", ")}
        </h3>
      )}
      <Problems problems={status.problems} services />
      <More of={status.more_problems} />
    </section>
  );
}

function Fact({ name, value, mono }: { name: string; value: string; mono?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={mono ? "mono" : ""}>{value || "–"}</dd>
    </div>
  );
}

function When({ name, at }: { name: string; at: Timestamp }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <Moment at={at} />
        {at && (
          <small>
            {" "}
            (<Ago at={at} /> ago)
          </small>
        )}
      </dd>
    </div>
  );
}

/** Proxies are the connected ones, those with faults first. */
function Proxies({ proxies: all }: { proxies: Proxy[] }) {
  const faulty = (p: Proxy) => Number((p.faults?.length ?? 0) > 0);
  const proxies = [...all].sort((a, b) => faulty(b) - faulty(a));
  return (
    <section class="card" aria-label="Connected proxies">
      <h2>{proxies.length === 0 ? "No proxy is connected" : count(proxies.length, "connected proxy", "connected proxies")}</h2>
      {proxies.length > 0 && (
        <Table label="Connected proxies" columns={["Proxy", "Version", "Address", "Connected for", "Last load report", "Admin API"]} kind="stack">
          <tbody>
            {proxies.map((p) => (
              <tr key={p.id}>
                <th scope="row" class="mono">
                  {p.id}
                  {p.faults?.map((fault) => (
                    <p key={fault} class="proxy-fault">
                      {fault}
                    </p>
                  ))}
                </th>
                <td data-label="Version">{p.version}</td>
                <td data-label="Address" class="mono">
                  {p.address}
                </td>
                <td data-label="Connected for" class="short">
                  <Ago at={p.connected_since} />
                </td>
                <td data-label="Last load report" class="short">
                  {p.last_load_report ? (
                    <>
                      <Ago at={p.last_load_report} /> ago
                    </>
                  ) : (
                    <span class="faint">none yet</span>
                  )}
                </td>
                <td data-label="Admin API">{p.admin_reachable ? <span class="mono">{p.admin_address}</span> : <span class="bad">{p.admin_error || "not reachable"}</span>}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </section>
  );
}

/** Disconnected are the proxies that are disconnected, and that can be forgotten: those that are replaced, or the others. */
function Disconnected({ proxies, replaced = false }: { proxies: DisconnectedProxy[]; replaced?: boolean }) {
  if (proxies.length === 0) return null;
  const label = replaced ? "Replaced proxies" : "Disconnected proxies";
  return (
    <section class="card" aria-label={label}>
      <h2>{replaced ? count(proxies.length, "replaced proxy", "replaced proxies") : count(proxies.length, "disconnected proxy", "disconnected proxies")}</h2>
      <p class="faint">
        {replaced
          ? "Disconnected within the last hour, and a new one of the same node cluster connected within a minute, as in a rolling deployment. No alert fires."
          : "Disconnected within the last hour, and neither back nor replaced by a new one of the same node cluster."}
      </p>
      <Table label={label} columns={["Proxy", "Node cluster", "Admin API", "Disconnected for", ...(acts() ? [{ hidden: "Actions" }] : [])]} kind="stack">
        <tbody>
          {proxies.map((p) => (
            <tr key={p.id} data-disconnected={p.id}>
              <th scope="row" class="mono">
                {p.id}
              </th>
              <td data-label="Node cluster">{p.node_cluster}</td>
              <td data-label="Admin API" class="mono">
                {p.admin_address}
              </td>
              <td data-label="Disconnected for" class="short">
                <Ago at={p.left} />
              </td>
              {acts() && (
                <td class="row-actions">
                  <button type="button" class="button button-small" disabled={!isLive()} onClick={() => act({ kind: "forget", proxy: p.id })}>
                    Forget<span class="hidden"> {p.id}</span>
                  </button>
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </Table>
    </section>
  );
}
