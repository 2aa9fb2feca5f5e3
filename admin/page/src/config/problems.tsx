// What is wrong with the policies, with the lines where it is.

import { keyed } from "../ui/keyed";
import { serviceLink } from "../ui/route";
import { place } from "../ui/text";
import type { Position, Problem, Rejection, SourceLine } from "../wire";

export function Problems({ problems, services = false }: { problems: Problem[]; services?: boolean }) {
  const errors = problems.filter((p) => p.severity === "error");
  const rest = problems.filter((p) => p.severity !== "error");
  return (
    <ul class="problems">
      {keyed([...errors, ...rest], (p) => `${place(p.position)} ${p.path} ${p.message}`).map(([key, p]) => (
        <li key={key} class={`problem problem-${p.severity}`}>
          <p>
            <b class="problem-severity">{p.severity === "error" ? "Error" : "Warning"}</b> <span class="mono">{place(p.position)}</span>
            {services && p.service && (
              <>
                {" "}
                <a href={serviceLink(p.service)}>{p.service}</a>
              </>
            )}
            {p.rule && <small> {p.rule}</small>}
          </p>
          <p>
            {p.path && <code>{p.path}</code>}
            {p.path && ": "}
            {p.message}
          </p>
          <Excerpt lines={p.excerpt} at={p.position} />
        </li>
      ))}
    </ul>
  );
}

/** More is how many of a list an answer has no room for. */
export function More({ of = 0 }: { of?: number | undefined }) {
  if (of === 0) return null;
  return <p class="more">and {of.toLocaleString("en")} more</p>;
}

export function Rejections({ rejections, services = false }: { rejections: Rejection[]; services?: boolean }) {
  return (
    <ul class="problems">
      {keyed(rejections, (r) => `${r.type_url} ${r.resource} ${r.message}`).map(([key, r]) => (
        <li key={key} class="problem problem-error">
          <p>
            <b class="problem-severity">Refused by Envoy</b> <span class="mono">{place(r.position)}</span>
            {services && r.service && (
              <>
                {" "}
                <a href={serviceLink(r.service)}>{r.service}</a>
              </>
            )}
          </p>
          <p>
            {r.resource && <code>{r.resource}</code>} <small>{shortType(r.type_url)}</small>
          </p>
          <p>{r.message}</p>
          <p>
            <small>
              {r.proxies.length > 0 && `Rejected by ${r.proxies.join(", ")}. `}
              {r.partial ? "Other proxies accepted it." : "All proxies keep what they had before."}
            </small>
          </p>
          <Excerpt lines={r.excerpt} at={r.position} />
        </li>
      ))}
    </ul>
  );
}

/** shortType is the last part of a type's URL. */
export function shortType(url: string): string {
  return url.split(".").at(-1) ?? url;
}

/** Excerpt is lines of a file, with a mark under the column that is meant. */
function Excerpt({ lines, at }: { lines: SourceLine[]; at: Position | null }) {
  if (lines.length === 0) return null;
  const wide = String(lines.at(-1)?.line ?? 0).length;
  return (
    <pre class="excerpt" tabIndex={0}>
      {lines.map((l) => (
        <span key={l.line} class={l.line === at?.line ? "excerpt-at" : ""}>
          <span class="excerpt-number">{String(l.line).padStart(wide)} </span>
          {l.text}
          {"\n"}
          {l.line === at?.line && at.column > 0 && (
            <span class="excerpt-mark">{`${" ".repeat(wide + 1)}${l.text.slice(0, at.column - 1).replace(/[^\t]/g, " ")}^\n`}</span>
          )}
        </span>
      ))}
    </pre>
  );
}
