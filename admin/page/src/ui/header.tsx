// The top of the page: where to go, and whether what is shown holds.

import type { ComponentChildren } from "preact";
import { now } from "../live/clock";
import { faults, storageFaults } from "../live/config";
import { connection, version } from "../live/store";
import { clockTime, count, dateTime, span } from "./format";
import { route } from "./route";
import { theme, turn } from "./theme";

export function Header() {
  const view = route.value.view;
  const { count: bad, more } = faults.value;
  const link = (to: string, name: string, here: boolean, badge?: ComponentChildren) => (
    <a href={to} aria-current={here ? "page" : undefined}>
      {name}
      {badge}
    </a>
  );
  const badge = bad > 0 && (
    <span class="nav-count" title={`${more ? "at least " : ""}${count(bad, "fault", "faults")} in policies, storage and proxies`}>
      {bad}
      {more && "+"}
      <span class="hidden"> {bad === 1 ? "fault" : "faults"}</span>
    </span>
  );
  return (
    <>
      <header>
        <a class="brand" href="#/" aria-label="Breakwater, all breakers">
          <Mark />
          <span>Breakwater</span>
        </a>
        <nav aria-label="Views">
          {link("#/", "Breakers", view === "board" || view === "service")}
          {link("#/events", "Events", view === "events")}
          {link("#/config", "Config", view === "config", badge)}
        </nav>
        <div class="header-end">
          {version.value?.read_only && (
            <span class="viewer" title="This address only shows: it takes no actions.">
              Viewer
            </span>
          )}
          <Live />
          <button type="button" class="icon-button" onClick={turn} title={`Theme: ${theme.value}`} aria-label={`Theme: ${theme.value}. Change`}>
            <ThemeIcon />
          </button>
        </div>
      </header>
      <Stale />
      <Unsaved />
    </>
  );
}

function Mark() {
  return (
    <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M4 11c3.5 0 3.5 3 7 3s3.5-3 7-3M4 20c3.5 0 3.5 3 7 3s3.5-3 7-3" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" />
      <path d="M26 6v20" class="brand-wall" stroke-width="4.5" stroke-linecap="round" />
    </svg>
  );
}

function Live() {
  const { phase } = connection.value;
  const words = { connecting: "Connecting", live: "Live", stale: "Stale" };
  return (
    <span class="live" data-phase={phase} role="status">
      <span class="live-dot" aria-hidden="true" />
      {words[phase]}
    </span>
  );
}

/** Stale says since when what is shown is not known to hold. */
function Stale() {
  const c = connection.value;
  if (c.phase !== "stale") return null;
  void now.value;
  const left = c.retryAt - performance.now();
  return (
    <div class="stale-bar" role="alert">
      {c.since > 0 ? (
        <>
          <b>Not live since {clockTime(c.since)}.</b> What is shown is what was known then.
        </>
      ) : (
        <b>Not connected.</b>
      )}{" "}
      <span>
        {c.why[0]?.toUpperCase()}
        {c.why.slice(1)}; <span aria-hidden="true">{left > 900 ? `next try in ${span(left)}` : "trying again"}</span>
      </span>
    </div>
  );
}

/** Unsaved says what cannot be saved, and since when. */
function Unsaved() {
  if (storageFaults.value.length === 0) return null;
  return (
    <section class="storage-bar" aria-label="What cannot be saved">
      {storageFaults.value.map((f) => (
        <p key={`${f.document} ${f.corrupt}`}>
          <b>
            {f.corrupt ? `Cannot read ${f.document},` : `Cannot save ${f.document}`}
            {f.since && ` since ${dateTime(Date.parse(f.since), now.peek())}`}:
          </b>{" "}
          {f.error}; {f.corrupt ? "what could not be read is lost" : "changes are lost on a restart"}.
        </p>
      ))}
    </section>
  );
}

function ThemeIcon() {
  switch (theme.value) {
    case "light":
      return (
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="3" fill="currentColor" />
          <path d="M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6L13 13M13 3l-1.4 1.4M4.4 11.6L3 13" stroke="currentColor" stroke-width="1.4" />
        </svg>
      );
    case "dark":
      return (
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z" fill="currentColor" />
        </svg>
      );
    default:
      return (
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.4" />
          <path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" />
        </svg>
      );
  }
}
