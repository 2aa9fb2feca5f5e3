// Tables of the page.

import type { ComponentChildren } from "preact";

/** Column is a column's name, that of a column of numbers, or one that only a screen reader says. */
export type Column = string | { number: string } | { hidden: string };

/** Table scrolls sideways where it is too wide. Its children are its bodies; kind is a class of its own. */
export function Table({ label, columns, kind, children }: { label: string; columns: Column[]; kind?: string; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table class={kind ? `table ${kind}` : "table"}>
        <thead>
          <tr>{columns.map(heading)}</tr>
        </thead>
        {children}
      </table>
    </div>
  );
}

function heading(column: Column) {
  if (typeof column === "string") {
    return (
      <th scope="col" key={column}>
        {column}
      </th>
    );
  }
  if ("number" in column) {
    return (
      <th scope="col" class="number" key={column.number}>
        {column.number}
      </th>
    );
  }
  return (
    <th scope="col" key={column.hidden}>
      <span class="hidden">{column.hidden}</span>
    </th>
  );
}
