// The effective policy, with the place that each value comes from.

import { keyed } from "../ui/keyed";
import { Table } from "../ui/table";
import { place } from "../ui/text";
import type { Setting } from "../wire";

/** origin says where a value comes from. */
function origin(s: Setting): string {
  const at = place(s.position);
  switch (s.layer) {
    case "environment":
      return s.variable;
    case "profile":
      return `profile ${s.variable}, ${at}`;
    case "built-in":
      return "built-in";
    default:
      return at || s.layer;
  }
}

export function Policy({ settings }: { settings: Setting[] }) {
  const own = settings.filter((s) => s.layer !== "built-in");
  const rest = settings.filter((s) => s.layer === "built-in");
  return (
    <>
      <Settings settings={own} label="Values that you set" />
      {rest.length > 0 && (
        <details>
          <summary>{rest.length} built-in values</summary>
          <Settings settings={rest} label="Built-in values" />
        </details>
      )}
    </>
  );
}

function Settings({ settings, label }: { settings: Setting[]; label: string }) {
  return (
    <Table label={label} columns={["Setting", "Value", "From"]} kind="policy">
      <tbody>
        {keyed(settings, (s) => s.path).map(([key, s]) => (
          <tr key={key}>
            <th scope="row" class="mono">
              {s.path}
            </th>
            <td class="mono policy-value">{s.value}</td>
            <td>
              <span class={s.position ? "mono" : ""}>{origin(s)}</span>
              {s.clamped && <small> pulled to a value that you set</small>}
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}
