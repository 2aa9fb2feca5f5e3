// The page: its frame, and the view that the address names.

import { effect } from "@preact/signals";
import { render } from "preact";
import { Board } from "./board/board";
import { totals } from "./board/filter";
import { ConfigView } from "./config/config";
import { EventsView } from "./events/events";
import { followConfig } from "./live/config";
import { followHistory } from "./live/history";
import { follow } from "./live/store";
import { ServiceView } from "./service/service";
import { Header } from "./ui/header";
import { route } from "./ui/route";

function View() {
  const at = route.value;
  switch (at.view) {
    case "board":
      return <Board />;
    case "service":
      return <ServiceView key={at.name} name={at.name} />;
    case "config":
      return <ConfigView />;
    case "events":
      return <EventsView />;
    default:
      return (
        <p class="empty">
          There is nothing at this address. <a href="#/">All breakers</a>
        </p>
      );
  }
}

function App() {
  return (
    <>
      <Header />
      <main id="main" tabIndex={-1}>
        <View />
      </main>
    </>
  );
}

effect(() => {
  const open = totals.value.get("open")?.services ?? 0;
  const at = route.value;
  const place = at.view === "service" ? `${at.name} · ` : open > 0 ? `${open} open · ` : "";
  document.title = `${place}Breakwater`;
});

follow();
followConfig();
followHistory();
const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
