// How long an override is to hold: one of some times, or one of the operator's own.

import { useSignal, type Signal } from "@preact/signals";
import { now } from "../live/clock";
import { dateTime } from "../ui/format";
import { lifetime } from "./lifetime";

const lives: [number, string][] = [
  [300, "5 minutes"],
  [900, "15 minutes"],
  [3600, "1 hour"],
  [14_400, "4 hours"],
];
const own = "own";
const forEver = "for ever";

/** Lasting is a time in s, null for ever, or what is wrong with what was written. */
export type Lasting = number | string | null;

/** Lifetime sets ttl. */
export function Lifetime({ ttl, disabled }: { ttl: Signal<Lasting>; disabled: boolean }) {
  const choice = useSignal(String(ttl.peek()));
  const text = useSignal("");
  const left = useSignal(false);
  const choose = (value: string) => {
    choice.value = value;
    ttl.value = value === own ? lifetime(text.value) : value === forEver ? null : Number(value);
  };
  const write = (value: string) => {
    text.value = value;
    ttl.value = lifetime(value);
  };
  // Who has not written anything yet has made no mistake.
  const begun = left.value || text.value !== "";
  const wrong = typeof ttl.value === "string" ? ttl.value : "";
  return (
    <>
      <label class="field">
        <span>For</span>
        <select name="ttl" value={choice.value} disabled={disabled} onChange={(e) => choose(e.currentTarget.value)}>
          {lives.map(([seconds, name]) => (
            <option key={seconds} value={String(seconds)}>
              {name}
            </option>
          ))}
          <option value={forEver}>For ever, until it is released</option>
          <option value={own}>Another time…</option>
        </select>
      </label>
      {choice.value === own && (
        <div class="field">
          <label for="lifetime">Duration</label>
          <input
            id="lifetime"
            ref={(input) => input?.setCustomValidity(wrong)}
            class="mono"
            placeholder="2h30m"
            maxLength={60}
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            aria-describedby="lifetime-words"
            aria-invalid={wrong !== "" && begun}
            value={text.value}
            disabled={disabled}
            onInput={(e) => write(e.currentTarget.value)}
            onBlur={() => (left.value = true)}
          />
          <div id="lifetime-words">
            <p class={begun ? "bad" : "faint"} role="status">
              {wrong}
            </p>
            {/* It moves on with the clock: to be read, not to be announced each second. */}
            {!wrong && <p class="faint">Until {dateTime(now.value + Number(ttl.value) * 1000, now.value)}.</p>}
          </div>
        </div>
      )}
    </>
  );
}
