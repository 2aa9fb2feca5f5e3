// Where the page is, in the part of the address after #: #/, #/service/NAME, #/config, #/events.

import { signal } from "@preact/signals";

export type Route = { view: "board" } | { view: "service"; name: string } | { view: "config" } | { view: "events" } | { view: "nowhere" };

function parse(hash: string): Route {
  const path = hash.replace(/^#?\/?/, "").split("?")[0] ?? "";
  const [view, ...rest] = path.split("/");
  switch (view) {
    case "":
      return { view: "board" };
    case "config":
    case "events":
      return rest.length === 0 ? { view } : { view: "nowhere" };
    case "service":
      try {
        return rest.length === 1 && rest[0] ? { view, name: decodeURIComponent(rest[0]) } : { view: "nowhere" };
      } catch {
        return { view: "nowhere" };
      }
    default:
      return { view: "nowhere" };
  }
}

export const route = signal<Route>(parse(location.hash));

// The board goes back to where it was by itself; other views begin at their top.
history.scrollRestoration = "manual";

window.addEventListener("hashchange", () => {
  route.value = parse(location.hash);
  if (route.value.view !== "board") window.scrollTo(0, 0);
});

/** serviceLink is the address of a service's view. */
export function serviceLink(name: string): string {
  return `#/service/${encodeURIComponent(name)}`;
}
