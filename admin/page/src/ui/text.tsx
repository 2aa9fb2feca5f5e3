// Sentences of the API, as the page shows them.

import type { ComponentChildren } from "preact";
import type { Position } from "../wire";

/** Sentence begins with a capital letter and shows what stands in backticks as code. */
export function Sentence({ text }: { text: string }): ComponentChildren {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return whole.split("`").map((part, i) => (i % 2 ? <code key={i}>{part}</code> : part));
}

/** place is such as fraud.yaml:3:5; empty for none. */
export function place(p: Position | null): string {
  if (!p?.file) return "";
  return [p.file, p.line, p.column].filter(Boolean).join(":");
}
