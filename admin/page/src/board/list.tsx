// The rows of the board, of which only those near the window are in the document.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Entry } from "../live/store";
import { route } from "../ui/route";
import { Row } from "./row";

/** margin is how many rows beyond the window's edges are drawn. */
const margin = 12;

let lastScroll = 0;

/** focusRow moves the focus to the link of a row, which it brings into the window first. */
export function focusRow(list: HTMLElement, index: number, height: number): void {
  const find = () => list.querySelector<HTMLElement>(`[data-row="${index}"]`);
  const there = find();
  if (there) {
    there.focus();
    there.closest(".row")?.scrollIntoView({ block: "nearest" });
    return;
  }
  window.scrollTo({ top: list.getBoundingClientRect().top + window.scrollY + index * height - window.innerHeight / 2 });
  requestAnimationFrame(() => requestAnimationFrame(() => find()?.focus()));
}

export function List({ rows }: { rows: Entry[] }) {
  const list = useRef<HTMLDivElement>(null);
  const probe = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(0);
  const [[from, to], setRange] = useState<[number, number]>([0, 0]);

  useLayoutEffect(() => {
    const look = () => {
      if (!list.current || !probe.current) return;
      const tall = probe.current.offsetHeight;
      const above = -list.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(above / tall) - margin);
      const last = Math.ceil((above + window.innerHeight) / tall) + margin;
      setHeight(tall);
      // Steps of four: most of the scrolling changes nothing.
      setRange(([a, b]) => {
        const next: [number, number] = [first - (first % 4), last + 4 - (last % 4)];
        return a === next[0] && b === next[1] ? [a, b] : next;
      });
    };
    const scrolled = () => {
      if (route.peek().view !== "board") return;
      lastScroll = window.scrollY;
      look();
    };
    // The list must be as tall as it was before one can be where one was.
    if (list.current && probe.current) list.current.style.height = `${rows.length * probe.current.offsetHeight}px`;
    window.scrollTo({ top: lastScroll });
    look();
    const resized = new ResizeObserver(look);
    resized.observe(document.documentElement);
    if (probe.current) resized.observe(probe.current);
    window.addEventListener("scroll", scrolled, { passive: true });
    return () => {
      resized.disconnect();
      window.removeEventListener("scroll", scrolled);
    };
  }, []);

  const move = (e: KeyboardEvent) => {
    const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
    const at = Number((e.target as HTMLElement).dataset["row"] ?? NaN);
    if (step === 0 || Number.isNaN(at) || !list.current) return;
    e.preventDefault();
    if (at + step < 0) document.getElementById("search")?.focus();
    else if (at + step < rows.length) focusRow(list.current, at + step, height);
  };

  const shown = rows.slice(from, to);
  return (
    <div class="list" role="rowgroup" ref={list} style={{ height: `${rows.length * height}px` }} onKeyDown={move}>
      <div class="row-probe" ref={probe} aria-hidden="true" />
      {height > 0 && shown.map((entry, i) => <Row key={entry.name} entry={entry} index={from + i} top={(from + i) * height} />)}
    </div>
  );
}
