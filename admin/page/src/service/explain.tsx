// Why requests to a service fail now, in words.

import { isLive } from "../live/store";
import { keyed } from "../ui/keyed";
import { Table } from "../ui/table";
import { Sentence } from "../ui/text";
import type { State } from "../wire";
import type { ServiceData } from "./data";

/** state is the breaker's now. */
export function Explain({ data, state }: { data: ServiceData; state: State }) {
  const e = data.explanation.value;
  const { error } = data.explaining;
  if (error.value) return <p class="bad">It could not be asked: {error.value}</p>;
  if (!e || (isLive() && e.breaker.state !== state)) return <p class="faint">Asking the proxies…</p>;
  const counted = e.counts.filter((c) => c.counts.length > 0 || c.error);
  return (
    <>
      {e.findings.length === 0 && <p class="good">Nothing keeps requests from succeeding.</p>}
      <ul class="findings">
        {keyed(e.findings, (f) => f.what).map(([key, f]) => (
          <li key={key}>
            <p>
              <Sentence text={f.what} />
            </p>
            {f.advice && (
              <p class="advice">
                <b>What to do:</b> <Sentence text={f.advice} />
              </p>
            )}
            {f.proxies.length > 0 && e.breaker.proxies.length > 1 && <small>on {f.proxies.join(", ")}</small>}
          </li>
        ))}
      </ul>
      {counted.length > 0 && (
        <details>
          <summary>What Envoy counted</summary>
          <Table label="What Envoy counted" columns={["What", { number: "Total" }, { number: "Last second" }]}>
            {counted.map((p) => (
              <tbody key={p.proxy}>
                {counted.length > 1 && (
                  <tr>
                    <th scope="rowgroup" colSpan={3} class="mono">
                      {p.proxy}
                    </th>
                  </tr>
                )}
                {p.error && (
                  <tr>
                    <td colSpan={3} class="bad">
                      {p.error}
                    </td>
                  </tr>
                )}
                {keyed(p.counts, (c) => c.stat).map(([key, c]) => (
                  <tr key={key}>
                    <td>
                      <Sentence text={c.meaning} />
                      <div class="counter mono">
                        {c.stat}
                        {c.flag && `, flag ${c.flag}`}
                      </div>
                    </td>
                    <td data-label="Total" class="number">{Number(c.total).toLocaleString("en")}</td>
                    <td data-label="Last second" class="number">{Number(c.recent).toLocaleString("en")}</td>
                  </tr>
                ))}
              </tbody>
            ))}
          </Table>
        </details>
      )}
    </>
  );
}
