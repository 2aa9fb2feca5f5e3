// The view of the configuration: what is served, what is wrong with what is on disk, what
// proxies refuse, and what a change would do.

import { Fragment } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { act, acts } from "../actions/action";
import { ActionDialog } from "../actions/dialog";
import { config } from "../live/config";
import { isLive, version } from "../live/store";
import { count } from "../ui/format";
import { serviceLink } from "../ui/route";
import { Table } from "../ui/table";
import { Ago, Moment } from "../ui/time";
import type { ConfigStatus, MissedProxy, Proxy, Timestamp } from "../wire";
import { ConfigData } from "./data";
import { Planner } from "./plan";
import { Problems, Rejections } from "./problems";

export function ConfigView() {
  const data = useMemo(() => new ConfigData(), []);
  useEffect(() => () => data.close(), [data]);
  const status = config.value;
  const { error, slow } = data.asking;
  return (
    <div class={isLive() ? "config" : "config service-stale"}>
      <h1>Configuration</h1>
      {error.value && <p class="failed">{error.value}</p>}
      {isLive() && status && !error.value && slow.value && <p class="failed">This is what was known last. Breakwater answers slowly.</p>}
      {!status ? <p class="empty">Waiting for Breakwater…</p> : <Status status={status} />}
      {data.proxies.value && <Proxies proxies={data.proxies.value.proxies} />}
      {data.proxies.value && <Missed missed={data.proxies.value.missed} />}
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
        <When name="Last taken over whole" at={status.last_success} />
        <When name="Last change looked at" at={status.last_attempt} />
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
      {status.problems.length > 0 && (
        <h3>
          {[errors > 0 && count(errors, "error", "errors"), warnings > 0 && count(warnings, "warning", "warnings")].filter(Boolean).join(", ")}
        </h3>
      )}
      <Problems problems={status.problems} more={status.more_problems} services />
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

function Proxies({ proxies }: { proxies: Proxy[] }) {
  return (
    <section class="card" aria-label="Connected proxies">
      <h2>{proxies.length === 0 ? "No proxy is connected" : count(proxies.length, "connected proxy", "connected proxies")}</h2>
      {proxies.length > 0 && (
        <Table label="Connected proxies" columns={["Proxy", "Version", "Address", "Connected for", "Last load report", "Admin API"]}>
          <tbody>
            {proxies.map((p) => (
              <tr key={p.id}>
                <th scope="row" class="mono">
                  {p.id}
                </th>
                <td>{p.version}</td>
                <td class="mono">{p.address}</td>
                <td>
                  <Ago at={p.connected_since} />
                </td>
                <td>
                  {p.last_load_report ? (
                    <>
                      <Ago at={p.last_load_report} /> ago
                    </>
                  ) : (
                    <span class="faint">none yet</span>
                  )}
                </td>
                <td>{p.admin_reachable ? <span class="mono">{p.admin_address}</span> : <span class="bad">{p.admin_error || "not reachable"}</span>}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </section>
  );
}

/** Missed are the proxies that have gone, and that can be forgotten. */
function Missed({ missed }: { missed: MissedProxy[] }) {
  if (missed.length === 0) return null;
  return (
    <section class="card" aria-label="Missed proxies">
      <h2>{count(missed.length, "missed proxy", "missed proxies")}</h2>
      <p class="faint">Gone within the last hour, and neither back nor replaced by another of the same node cluster.</p>
      <Table label="Missed proxies" columns={["Proxy", "Node cluster", "Admin API", "Gone for", ...(acts() ? [{ hidden: "Actions" }] : [])]}>
        <tbody>
          {missed.map((p) => (
            <tr key={p.id} data-missed={p.id}>
              <th scope="row" class="mono">
                {p.id}
              </th>
              <td>{p.node_cluster}</td>
              <td class="mono">{p.admin_address}</td>
              <td>
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
