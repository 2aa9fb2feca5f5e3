// The breaker in each proxy, and the hosts as that proxy sees them.

import { useSignal } from "@preact/signals";
import { isLive } from "../live/store";
import { act, acts } from "../actions/action";
import { percent } from "../ui/format";
import { severity, StateBadge } from "../ui/states";
import { Table } from "../ui/table";
import { Ago, Countdown, overWords } from "../ui/time";
import type { Breaker, Host, ProxyBreaker } from "../wire";

const first = 30;

/** known: breaker's proxies are those of now. */
export function Proxies({ breaker, known }: { breaker: Breaker; known: boolean }) {
  const all = useSignal(false);
  if (breaker.proxies.length === 0) return <p class="faint">No proxy is connected.</p>;
  const sorted = [...breaker.proxies].sort((a, b) => severity(a.state) - severity(b.state));
  const shown = all.value ? sorted : sorted.slice(0, first);
  return (
    <>
      <Table label="Proxies and hosts" columns={["Proxy and hosts", "State", "Cause", "Time", { number: "Attempts" }, { number: "Failed" }, ...(acts() ? [{ hidden: "Actions" }] : [])]} kind="proxies">
        {shown.map((p) => (
          <ProxyRows key={p.proxy} service={breaker.service} proxy={p} live={known && isLive()} />
        ))}
      </Table>
      {sorted.length > shown.length && (
        <button type="button" class="link" onClick={() => (all.value = true)}>
          Show all {sorted.length} proxies
        </button>
      )}
    </>
  );
}

function ProxyRows({ service, proxy: p, live }: { service: string; proxy: ProxyBreaker; live: boolean }) {
  return (
    <tbody data-proxy={p.proxy}>
      <tr class="proxy-row">
        <th scope="row" class="mono">
          {p.proxy}
        </th>
        <td>
          <StateBadge state={p.state} stale={!live} waiting={p.waiting} />
        </td>
        <td class="proxy-cause">
          {p.cause}
          {p.shadow && <span class="mark mark-shadow">shadow{p.shadow_state && `: would be ${p.shadow_state.replace("_", "-")}`}</span>}
          {p.overloaded && <span class="mark mark-overloaded">overloaded</span>}
        </td>
        <td>
          {live && p.until && (
            <div>
              <b>
                <Countdown until={p.until} over={overWords(p.state)} />
              </b>
            </div>
          )}
          {live && (
            <small>
              for <Ago at={p.since} />
            </small>
          )}
        </td>
        <td data-label="Attempts" class="number">{Number(p.attempts).toLocaleString("en")}</td>
        <td data-label="Failed" class="number">{Number(p.failures).toLocaleString("en")}</td>
        {acts() && (
          <td class="row-actions">
            {p.order ? (
              <button type="button" class="button button-small" disabled={!live} onClick={() => act({ kind: "release", service, proxy: p.proxy })}>
                Release<span class="hidden"> on {p.proxy}</span>
              </button>
            ) : (
              <button type="button" class="button button-small" disabled={!live} onClick={() => act({ kind: "force-open", service, proxy: p.proxy })}>
                Force open<span class="hidden"> on {p.proxy}</span>
              </button>
            )}
          </td>
        )}
      </tr>
      {p.hosts.map((h) => (
        <HostRow key={h.address} service={service} host={h} live={live} />
      ))}
    </tbody>
  );
}

function HostRow({ service, host: h, live }: { service: string; host: Host; live: boolean }) {
  const n = Number(h.requests);
  const failed = Number(h.errors);
  return (
    <tr class="host-row" data-host={h.address}>
      <th scope="row" class="mono">
        {h.address}
      </th>
      <td colSpan={3}>
        <span class="flags">
          {!live && <span class="flag">unknown</span>}
          {live && h.ejected && (
            <span class="flag flag-bad" title="Outlier detection took it out of rotation.">
              ejected
            </span>
          )}
          {live && h.unhealthy && (
            <span class="flag flag-bad" title="It fails its active health check.">
              unhealthy
            </span>
          )}
          {live && !h.ejected && !h.unhealthy && <span class="flag">in rotation</span>}
        </span>
      </td>
      <td data-label="Attempts" class="number">{n.toLocaleString("en")}</td>
      <td data-label="Failed" class="number">
        {failed.toLocaleString("en")}
        {n > 0 && failed > 0 && <small> {percent(failed / n)}</small>}
      </td>
      {acts() && (
        <td class="row-actions">
          {h.ejected && (
            <button
              type="button"
              class="button button-small"
              disabled={!live}
              onClick={() => act({ kind: "reset", service, host: h.address })}
            >
              Reset<span class="hidden"> host {h.address}</span>
            </button>
          )}
        </td>
      )}
    </tr>
  );
}
