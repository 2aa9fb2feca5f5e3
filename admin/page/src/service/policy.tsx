// The effective policy, with the place that each value comes from.

import type { Setting } from "../wire";

/** origin says where a value comes from. */
function origin(s: Setting): string {
  const place = s.position && s.position.file ? `${s.position.file}:${s.position.line}:${s.position.column}` : "";
  switch (s.layer) {
    case "environment":
      return s.variable;
    case "profile":
      return `profile ${s.variable}, ${place}`;
    case "built-in":
      return "built-in";
    default:
      return place || s.layer;
  }
}

export function Policy({ settings }: { settings: Setting[] }) {
  const own = settings.filter((s) => s.layer !== "built-in");
  const rest = settings.filter((s) => s.layer === "built-in");
  return (
    <>
      <Table settings={own} label="Values that you set" />
      {rest.length > 0 && (
        <details>
          <summary>{rest.length} built-in values</summary>
          <Table settings={rest} label="Built-in values" />
        </details>
      )}
    </>
  );
}

function Table({ settings, label }: { settings: Setting[]; label: string }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table class="table policy">
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Value</th>
            <th scope="col">From</th>
          </tr>
        </thead>
        <tbody>
          {settings.map((s) => (
            <tr key={s.path}>
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
      </table>
    </div>
  );
}
