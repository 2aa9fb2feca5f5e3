// The board: every service at a glance.

import { useEffect } from "preact/hooks";
import { minutes } from "../live/history";
import { connection, entries } from "../live/store";
import { Choice } from "../ui/choice";
import { count } from "../ui/format";
import { StateIcon, states, word } from "../ui/states";
import type { State } from "../wire";
import { filter, query, sort, totals, visible, type Sort } from "./filter";
import { List } from "./list";

const sorts: [Sort, string][] = [
  ["trouble", "Trouble first"],
  ["name", "Name"],
  ["rate", "Request rate"],
];

export function Board() {
  useEffect(() => {
    const slash = (e: KeyboardEvent) => {
      const typing = e.target instanceof Element && e.target.closest("input, textarea, select, dialog");
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || typing) return;
      e.preventDefault();
      document.getElementById("search")?.focus();
    };
    window.addEventListener("keydown", slash);
    return () => window.removeEventListener("keydown", slash);
  }, []);

  const rows = visible.value;
  return (
    <>
      <h1 class="hidden">Circuit breakers</h1>
      <Tools />
      <div class="board" role="table" aria-label="Circuit breakers" aria-rowcount={rows.length + 1}>
        <div role="rowgroup">
          <div class="row-head" role="row" aria-rowindex={1}>
            <div role="columnheader">State</div>
            <div role="columnheader">Service and cause</div>
            <div role="columnheader">Time</div>
            <div role="columnheader">Hosts</div>
            <div role="columnheader">Proxies</div>
            <div role="columnheader" title="The drawing is of the last minutes, the number per second now">
              Attempts, {minutes} min
            </div>
            <div role="columnheader">Failed</div>
          </div>
        </div>
        {rows.length > 0 && <List rows={rows} />}
      </div>
      {rows.length === 0 && <Nothing />}
    </>
  );
}

function Tools() {
  const toggle = (state: State) => {
    const next = new Set(filter.value);
    if (!next.delete(state)) next.add(state);
    filter.value = next;
  };
  const keys = (e: KeyboardEvent) => {
    if (e.key === "Escape") {
      if (query.value === "") (e.target as HTMLElement).blur();
      query.value = "";
    }
    if (e.key === "ArrowDown") {
      e.preventDefault();
      document.querySelector<HTMLElement>("[data-row='0']")?.focus();
    }
  };
  return (
    <div class="tools">
      <div class="search">
        <input
          id="search"
          type="search"
          placeholder="Search services and causes"
          aria-label="Search services and causes"
          autocomplete="off"
          spellcheck={false}
          value={query.value}
          onInput={(e) => (query.value = e.currentTarget.value)}
          onKeyDown={keys}
        />
        <kbd aria-hidden="true">/</kbd>
      </div>
      <div class="chips" role="group" aria-label="Show only these states">
        {states.map((state) => {
          const { services: n, busy } = totals.value.get(state) ?? { services: 0, busy: false };
          const on = filter.value.has(state);
          if (n === 0 && !on && state !== "open" && state !== "closed") return null;
          return (
            <button key={state} type="button" class="chip" data-look={busy ? state : "none"} aria-pressed={on} onClick={() => toggle(state)}>
              <StateIcon state={state} />
              <b>{n}</b> {word[state].toLowerCase()}
            </button>
          );
        })}
      </div>
      <Choice label="Sort" value={sort.value} options={sorts} choose={(value) => (sort.value = value as Sort)} />
    </div>
  );
}

function Nothing() {
  if (entries.size > 0) {
    const clear = () => {
      query.value = "";
      filter.value = new Set();
    };
    return (
      <p class="empty">
        None of {count(entries.size, "service", "services")} is as you ask.{" "}
        <button type="button" class="link" onClick={clear}>
          Show all
        </button>
      </p>
    );
  }
  if (connection.value.phase !== "live") return <p class="empty">Waiting for Breakwater…</p>;
  return (
    <p class="empty">
      No policy is served yet. <a href="#/config">What is wrong with the policies</a>
    </p>
  );
}
