// What a policy would change if it were saved, without saving it.

import { useSignal, type Signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { isLive } from "../live/store";
import { post } from "../live/http";
import { keyed } from "../ui/keyed";
import { serviceLink } from "../ui/route";
import { Table } from "../ui/table";
import { place, Sentence } from "../ui/text";
import type { Plan, ResourcePlan, ServicePlan } from "../wire";
import { More, Problems, shortType } from "./problems";

interface File {
  /** Of its fields, for as long as they are there. */
  key: number;
  name: string;
  content: string;
}

let lastKey = 0;
const newFile = (name = "", content = ""): File => ({ key: ++lastKey, name, content });

export function Planner() {
  const files = useSignal<File[]>(useMemo(() => [newFile()], []));
  const complete = useSignal(false);
  const plan = useSignal<Plan | null>(null);
  const failed = useSignal("");
  const busy = useSignal(false);

  const change = (i: number, part: Partial<File>) => {
    files.value = files.value.map((f, at) => (at === i ? { ...f, ...part } : f));
  };
  const upload = async (input: HTMLInputElement) => {
    const read = await Promise.all([...(input.files ?? [])].map(async (f) => newFile(f.name, await f.text())));
    input.value = "";
    const kept = files.value.filter((f) => (f.name || f.content) && !read.some((r) => r.name === f.name));
    if (read.length > 0) files.value = [...kept, ...read];
  };
  const ask = async (e: Event) => {
    e.preventDefault();
    busy.value = true;
    failed.value = "";
    plan.value = null;
    try {
      plan.value = await post<Plan>("api/v1/plan", { files: files.value.map(({ name, content }) => ({ name, content })), complete: complete.value });
    } catch (err) {
      failed.value = (err as Error).message;
    }
    busy.value = false;
  };
  return (
    <section class="card planner" aria-label="Plan a change">
      <h2>Plan a change</h2>
      <p class="faint">See what a policy would change before you save it. Nothing is applied.</p>
      <form onSubmit={(e) => void ask(e)}>
        {files.value.map((f, i) => (
          <FileFields key={f.key} file={f} index={i} only={files.value.length === 1} change={(part) => change(i, part)} remove={() => (files.value = files.value.filter((_, at) => at !== i))} />
        ))}
        <div class="planner-tools">
          <label class="button">
            Open files
            <input class="hidden" type="file" multiple accept=".yaml,.yml" onChange={(e) => void upload(e.currentTarget)} />
          </label>
          <button type="button" class="button" onClick={() => (files.value = [...files.value, newFile()])}>
            Add a file
          </button>
          <Complete on={complete} />
          <button type="submit" class="button button-main" disabled={busy.value || !isLive()}>
            {busy.value ? "Planning…" : "Plan"}
          </button>
        </div>
      </form>
      {failed.value && (
        <p class="failed" role="alert">
          {failed.value}
        </p>
      )}
      <div role="status">{plan.value && <Result plan={plan.value} />}</div>
    </section>
  );
}

function Complete({ on }: { on: Signal<boolean> }) {
  return (
    <label class="check">
      <input type="checkbox" checked={on.value} onChange={(e) => (on.value = e.currentTarget.checked)} />
      These files are the whole directory
    </label>
  );
}

interface FieldsProps {
  file: File;
  index: number;
  only: boolean;
  change: (part: Partial<File>) => void;
  remove: () => void;
}

function FileFields({ file, index, only, change, remove }: FieldsProps) {
  return (
    <fieldset class="planner-file">
      <legend class="hidden">File {index + 1}</legend>
      <div class="planner-name">
        <label>
          <span>File in the policy directory</span>
          <input class="mono" name="file" required placeholder="payments.yaml" autocomplete="off" spellcheck={false} value={file.name} onInput={(e) => change({ name: e.currentTarget.value })} />
        </label>
        {!only && (
          <button type="button" class="link" onClick={remove}>
            Remove<span class="hidden"> {file.name || `file ${index + 1}`}</span>
          </button>
        )}
      </div>
      <label>
        <span class="hidden">Content of {file.name || `file ${index + 1}`}</span>
        <textarea
          class="mono"
          name="content"
          rows={10}
          spellcheck={false}
          placeholder={"service: payments\nupstream: http://10.0.0.7:8080"}
          value={file.content}
          onInput={(e) => change({ content: e.currentTarget.value })}
        />
      </label>
    </fieldset>
  );
}

function Result({ plan }: { plan: Plan }) {
  return (
    <div class="plan" data-plan={plan.ok ? "ok" : "rejected"}>
      <h3>
        {plan.ok ? (
          <span class="good">{plan.services.length === 0 && plan.resources.length === 0 ? "It would change nothing." : "Valid."}</span>
        ) : (
          <span class="bad">It has errors: the services that they concern would keep their current policy.</span>
        )}
      </h3>
      <Problems problems={plan.problems} services />
      <More of={plan.more_problems} />
      {plan.services.map((s) => (
        <Service key={s.service} plan={s} />
      ))}
      {plan.resources.length > 0 && (
        <details>
          <summary>What Envoy would be sent ({plan.resources.length})</summary>
          {plan.resources.map((r) => (
            <Resource key={`${r.type_url} ${r.name}`} plan={r} />
          ))}
        </details>
      )}
      {plan.digest && (
        <p class="faint">
          Digest: <span class="mono">{plan.digest}</span>
        </p>
      )}
    </div>
  );
}

function Service({ plan }: { plan: ServicePlan }) {
  return (
    <div class="plan-service">
      <p>
        <b class={`plan-${plan.action}`}>{plan.action}</b> {plan.service ? <a href={serviceLink(plan.service)}>{plan.service}</a> : "what all services share"}
      </p>
      <ul>
        {keyed(plan.effects, (e) => e.text).map(([key, e]) => (
          <li key={key} class={e.severity === "warning" ? "plan-warning" : ""}>
            {e.severity === "warning" && <b>Warning: </b>}
            <Sentence text={e.text} />
            {e.proxies.length > 0 && <small> ({e.proxies.join(", ")})</small>}
          </li>
        ))}
      </ul>
      {plan.settings.length > 0 && (
        <Table label={`Settings of ${plan.service}`} columns={["Setting", "Now", "Then", "From"]} kind="stack">
          <tbody>
            {keyed(plan.settings, (s) => s.path).map(([key, s]) => (
              <tr key={key}>
                <th scope="row" class="mono">
                  {s.path}
                </th>
                <td data-label="Now" class="mono">
                  {s.from || <span class="faint">not set</span>}
                </td>
                <td data-label="Then" class="mono">
                  {s.to || <span class="faint">not set</span>}
                </td>
                <td data-label="From" class="mono">
                  {place(s.position)}
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </div>
  );
}

function Resource({ plan }: { plan: ResourcePlan }) {
  return (
    <div class="plan-resource">
      <p>
        <b class={`plan-${plan.action}`}>{plan.action}</b> {shortType(plan.type_url)} <code>{plan.name}</code>
      </p>
      {plan.diff && (
        <pre class="excerpt diff" tabIndex={0}>
          {plan.diff.split("\n").map((line, i) => (
            <span key={i} class={/^[+](?!\+\+)/.test(line) ? "diff-in" : /^-(?!--)/.test(line) ? "diff-out" : ""}>
              {line}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </div>
  );
}
