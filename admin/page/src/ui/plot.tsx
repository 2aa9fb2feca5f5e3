// A plot over time, with a legend in words beside it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { isDark } from "./theme";

export interface Line {
  label: string;
  /** The custom property of its colour. */
  colour: string;
  /** Lengths of dashes and gaps; without: a line in one piece. */
  dash?: number[];
}

interface Props {
  title: string;
  lines: Line[];
  /** Times in s, then one column for each line. */
  data: (number | null)[][];
  format: (value: number) => string;
  /** What is said in the place of a value that there is none of. */
  none?: string;
  /** A greatest value that is shown at least. */
  top: number;
  /** What else there is to be said, below it. */
  notes?: string[];
}

const plotHeight = 170;
/** span is the least time in s that is shown. */
const span = 60;

export function Plot({ title, lines, data, format, top, none = "–", notes = [] }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const hover = useSignal<number | null>(null);
  const dark = isDark();

  useEffect(() => {
    const el = place.current;
    if (!el) return;
    const css = getComputedStyle(document.documentElement);
    const colour = (name: string) => css.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1, size: 4 },
      font: `11px ${css.fontFamily}`,
    };
    const made = new uPlot(
      {
        width: el.clientWidth,
        height: plotHeight,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { x: { range: (_u, min, max) => [Math.min(min, max - span), max] }, y: { range: (_u, _min, max) => [0, Math.max(top, max * 1.1)] } },
        axes: [
          { ...axis, size: 26, space: 70, incrs: [5, 10, 15, 30, 60, 120, 180, 300, 600], values: "{HH}:{mm}:{ss}" as unknown as uPlot.Axis.Values },
          { ...axis, size: 52, space: 34, values: (_u, ticks) => ticks.map((t) => format(t)) },
        ],
        series: [
          {},
          ...lines.map((l) => ({
            label: l.label,
            stroke: colour(l.colour),
            width: 1.75,
            ...(l.dash ? { dash: l.dash } : {}),
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(u) => (hover.value = u.cursor.idx ?? null)] },
      },
      data as uPlot.AlignedData,
      el,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: el.clientWidth, height: plotHeight }));
    resized.observe(el);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
    // A theme has other colours, which a plot takes when it is made.
  }, [dark]);

  useEffect(() => {
    plot.current?.setData(data as uPlot.AlignedData);
  }, [data]);

  const at = hover.value ?? (data[0]?.length ?? 0) - 1;
  const value = (i: number) => data[i + 1]?.[at] ?? null;
  const words = lines.map((l, i) => `${l.label} ${value(i) === null ? none : format(value(i) as number)}`).join(", ");
  return (
    <figure class="plot">
      <figcaption>{title}</figcaption>
      <ul class="legend">
        {lines.map((l, i) => (
          <li key={l.label}>
            <svg viewBox="0 0 20 8" aria-hidden="true">
              <path d="M0 4H20" style={{ stroke: `var(${l.colour})` }} stroke-width="2.5" stroke-dasharray={l.dash?.join(" ")} />
            </svg>
            {l.label} <b>{value(i) === null ? none : format(value(i) as number)}</b>
          </li>
        ))}
      </ul>
      <div class="plot-area" ref={place} role="img" aria-label={`${title}: ${words}`} />
      {notes.map((note) => (
        <p class="plot-note" key={note}>
          {note}
        </p>
      ))}
    </figure>
  );
}
