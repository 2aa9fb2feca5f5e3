// The confirmation of an action, and its proof.

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { APIError } from "../live/http";
import { isLive, version } from "../live/store";
import { StateBadge, word } from "../ui/states";
import { Table } from "../ui/table";
import type { Breaker, State } from "../wire";
import { acts, asked, effect, overrides, perform, title, verb, type Action, type Outcome } from "./action";
import { Lifetime, type Lasting } from "./lifetime-field";

const actorKey = "breakwater.actor";
/** said is a pattern of what is not only spaces. */
const said = ".*\\S.*";

/** refusal says why there is no proof. Without an answer the action may have been carried out all the same. */
function refusal({ status, message }: APIError): string {
  const lost = status === 0 || status === 408 || status >= 500;
  return lost ? `It is not known whether it was done: ${message}. Look at the state before you try again.` : `Not done: ${message}`;
}

function knownActor(): string {
  try {
    return localStorage.getItem(actorKey) ?? "";
  } catch {
    return "";
  }
}

interface Subject {
  /** What the actions of this view are on, as it is now; without: they are on proxies. */
  breaker?: Breaker;
  /** The breaker's proxies are known as they are now. */
  known?: boolean;
  /** Callers of the service have one. */
  fallback?: boolean;
}

/** ActionDialog shows the confirmation that is asked for, if one is, and forgets it with the view that it is of. */
export function ActionDialog(subject: Subject) {
  const action = asked.value;
  useEffect(() => () => (asked.value = null), []);
  return action && <Confirmation key={`${title(action)} ${action.proxy ?? ""}`} action={action} {...subject} />;
}

/** Standing is the state that an action would change, and where it is. gone: the proxy is no longer connected. */
interface Standing {
  state: State;
  where: string;
  gone: boolean;
}

/** standing is null for what nobody knows now. */
function standing({ breaker, known = false }: Subject, proxy: string): Standing | null {
  if (!breaker || (proxy && !known)) return null;
  if (!proxy) return { state: breaker.state, where: breaker.summary.replace(`${breaker.state} on`, "on"), gone: false };
  const state = breaker.proxies.find((p) => p.proxy === proxy)?.state;
  return { state: state ?? "unknown", where: `on ${proxy}`, gone: state === undefined };
}

/** Now shows how it stands, and how that differs from how it stood when the operator asked. */
function Now({ is, was, proxy }: { is: Standing; was: Standing | null; proxy: string }) {
  const changed = was && !is.gone && (is.state !== was.state || is.where !== was.where);
  return (
    <>
      {isLive() && (
        <p class="standing">
          Now <StateBadge state={is.state} /> {!is.gone && is.where}
        </p>
      )}
      <div role="status">
        {is.gone && <p class="warn">Proxy {proxy} is no longer connected.</p>}
        {changed && (
          <p class="warn">
            It has changed since you asked: it was {word[was.state].toLowerCase()} {was.where}.
          </p>
        )}
      </div>
    </>
  );
}

function Confirmation({ action, ...subject }: { action: Action } & Subject) {
  const { breaker, fallback = false } = subject;
  const dialog = useRef<HTMLDialogElement>(null);
  const close = useRef<HTMLButtonElement>(null);
  const actor = useSignal(knownActor());
  const reason = useSignal("");
  const ttl = useSignal<Lasting>(900);
  const proxy = useSignal(action.proxy ?? "");
  const busy = useSignal(false);
  const failed = useSignal("");
  const outcome = useSignal<Outcome | null>(null);

  const now = standing(subject, proxy.value);
  // What it was when the operator asked, or chose another proxy.
  const [was, setWas] = useState(now);

  useLayoutEffect(() => dialog.current?.showModal(), []);
  useLayoutEffect(() => {
    if (outcome.value) close.current?.focus();
  }, [outcome.value]);

  const submit = async (e: Event) => {
    e.preventDefault();
    if (typeof ttl.value === "string") return; // the field says why
    busy.value = true;
    failed.value = "";
    try {
      localStorage.setItem(actorKey, actor.value);
    } catch {
      // Storage is forbidden: the name is asked for again next time.
    }
    try {
      outcome.value = await perform(action, { actor: actor.value.trim(), reason: reason.value.trim(), ttl: ttl.value, proxy: proxy.value });
    } catch (err) {
      failed.value = refusal(err as APIError);
    }
    busy.value = false;
  };
  const choose = (name: string) => {
    proxy.value = name;
    setWas(standing(subject, name));
  };
  const scope = (action.kind === "force-open" || action.kind === "release") && breaker && (breaker.proxies.length > 1 || proxy.value !== "") ? breaker.proxies : null;
  return (
    <dialog
      ref={dialog}
      aria-labelledby="action-title"
      onClose={() => (asked.value = null)}
      onCancel={(e) => {
        if (busy.value) e.preventDefault();
      }}
    >
      <form onSubmit={(e) => void submit(e)}>
        <h2 id="action-title">{title(action)}</h2>
        {outcome.value ? (
          <Proved outcome={outcome.value} />
        ) : (
          <>
            <div class="effect">
              {now && <Now is={now} was={was} proxy={proxy.value} />}
              {!now?.gone && effect(action, breaker ?? null, proxy.value, fallback).map((line, i) => <p key={i}>{line}</p>)}
            </div>
            {scope && (
              <label class="field">
                <span>On</span>
                <select value={proxy.value} disabled={busy.value} onChange={(e) => choose(e.currentTarget.value)}>
                  <option value="">all proxies</option>
                  {now?.gone && <option value={proxy.value}>{proxy.value}</option>}
                  {scope.map((p) => (
                    <option key={p.proxy} value={p.proxy}>
                      {p.proxy}
                    </option>
                  ))}
                </select>
              </label>
            )}
            {overrides(action.kind) && <Lifetime ttl={ttl} disabled={busy.value} />}
            <label class="field">
              <span>Reason</span>
              <input name="reason" maxLength={300} required={overrides(action.kind)} pattern={said} title="Say why" autocomplete="off" value={reason.value} disabled={busy.value} onInput={(e) => (reason.value = e.currentTarget.value)} />
            </label>
            <label class="field">
              <span>Your name</span>
              <input name="actor" maxLength={80} autocomplete="name" value={actor.value} disabled={busy.value} onInput={(e) => (actor.value = e.currentTarget.value)} />
            </label>
            <p class="faint">Reason and name go into the log and the events.</p>
          </>
        )}
        {failed.value && (
          <p class="failed" role="alert">
            {failed.value}
          </p>
        )}
        {!isLive() && !outcome.value && (
          <p class="failed" role="alert">
            Breakwater is not connected.
          </p>
        )}
        {isLive() && version.value?.read_only && !outcome.value && (
          <p class="failed" role="alert">
            This address only shows now: it takes no actions.
          </p>
        )}
        <div class="dialog-end">
          <button type="button" class="button" ref={close} disabled={busy.value} onClick={() => dialog.current?.close()}>
            {outcome.value ? "Close" : "Cancel"}
          </button>
          {!outcome.value && (
            <button type="submit" class="button button-main" disabled={busy.value || !isLive() || !acts() || now?.gone}>
              {!busy.value ? verb(action.kind) : action.kind === "forget" ? "Waiting for the answer…" : "Waiting for the proof…"}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}

/** Proved says what each Envoy reported, and what could not be proved. */
function Proved({ outcome }: { outcome: Outcome }) {
  if (!outcome.proofs) {
    return (
      <div role="status">
        <p class="good">{outcome.words}</p>
        {outcome.unsaved && <p class="warn">{outcome.unsaved}</p>}
      </div>
    );
  }
  const before = outcome.proofs.some((p) => p.before !== "");
  const reached = outcome.proofs.some((p) => p.acknowledged);
  const done = outcome.proofs.length > 0 ? "Done, and proved by each proxy." : "Done.";
  return (
    <div role="status" class="proof" data-ok={outcome.ok}>
      <p class={outcome.ok ? "good" : "bad"}>
        <b>{outcome.ok ? done : reached ? "Not proved on every proxy." : "Failed."}</b> {outcome.words}
      </p>
      {outcome.unsaved && <p class="warn">{outcome.unsaved}</p>}
      {outcome.proofs.length > 0 && (
        <Table label="What each proxy reported" columns={["Proxy", "Result", ...(before ? ["Before"] : []), "After", "What Envoy reported"]} kind="stack">
          <tbody>
            {outcome.proofs.map((p) => (
              <tr key={p.proxy}>
                <th scope="row" class="mono">
                  {p.proxy}
                </th>
                <td data-label="Result" class={p.error ? "short bad" : "short good"}>
                  {p.error ? "not proved" : "proved"}
                </td>
                {before && <td data-label="Before">{p.before}</td>}
                <td data-label="After">{p.after}</td>
                <td data-label="What Envoy reported">{p.error || p.note}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </div>
  );
}
