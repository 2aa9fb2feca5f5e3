// Tables of the page.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

/** Column is a column's name, that of a column of numbers, or one that only a screen reader says. */
export type Column = string | { number: string } | { hidden: string };

interface Props {
  label: string;
  columns: Column[];
  /** A class of its own. Of kind "stack", each cell is at least so wide that names are not broken without need. */
  kind?: string;
  /** The table's bodies. */
  children: ComponentChildren;
}

/** Table has a block for each row where there is no room for its columns: then a cell is named by its data-label. */
export function Table({ label, columns, kind, children }: Props) {
  const around = useRef<HTMLDivElement>(null);
  const fit = () => {
    const el = around.current;
    if (!el) return;
    el.removeAttribute("data-stacked");
    el.toggleAttribute("data-stacked", el.scrollWidth > el.clientWidth);
  };
  // Its content may need more room, or its place have less.
  useLayoutEffect(fit);
  useEffect(() => {
    let width = around.current?.clientWidth;
    const resized = new ResizeObserver(() => {
      if (width === around.current?.clientWidth) return;
      width = around.current?.clientWidth;
      fit();
    });
    if (around.current) resized.observe(around.current);
    return () => resized.disconnect();
  }, []);
  return (
    <div class="scroll" ref={around} tabIndex={0} role="group" aria-label={label}>
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
