"""Breakwater goes away and comes back: what was known then is never shown as what is."""

import re

from browser import api, browser, do, expect, row

# SLOW has the service's answers take half a second, and remembers whether a failure of old was told of.
SLOW = """() => {
  const ask = window.fetch;
  window.fetch = async (path, ...rest) => {
    if (path.endsWith("/search-service")) await new Promise((resolve) => setTimeout(resolve, 500));
    return ask(path, ...rest);
  };
  window.told = false;
  new MutationObserver(() => (window.told ||= document.body.innerText.includes("This is what was known last"))).observe(document.body, {subtree: true, childList: true});
}"""

with browser() as watched:
    board, view, events = watched.page(), watched.page("#/service/search-service"), watched.page("#/events")
    article = view.locator("article")
    services = len(api("/api/v1/breakers")["breakers"])
    expect(board.locator(".row[data-state='closed']")).to_have_count(services)
    expect(article).to_have_attribute("data-state", "closed")
    expect(view.locator(".proxy-row .state[data-look='closed']")).to_have_count(1)
    view.evaluate(SLOW)
    # An operator is about to give an order, where no order will be taken any more.
    late = watched.page("#/service/search-service")
    late.get_by_role("button", name="Reset", exact=True).click()
    dialog = late.get_by_role("dialog")

    watched.outage = True
    do("stop")
    for page in (board, view, events):
        expect(page.locator(".live")).to_have_attribute("data-phase", "stale")
        expect(page.locator(".stale-bar")).to_contain_text(re.compile(r"Not live since \d\d:\d\d:\d\d"))
    expect(board.locator(".row[data-state='unknown'][data-last-state='closed']")).to_have_count(services)
    expect(board.locator(".row .state[data-look='closed']")).to_have_count(0)
    expect(row(board, "search-service")).to_contain_text("was closed")
    expect(board.locator(".countdown")).to_have_count(0)
    expect(article).to_have_attribute("data-state", "unknown")
    expect(view.locator(".machine-on")).to_have_count(0)
    expect(view.get_by_role("button", name="Reset", exact=True)).to_be_disabled()
    # It does not give up.
    expect(board.locator(".stale-bar")).to_contain_text("next try in")
    expect(dialog.get_by_role("alert")).to_have_text("Breakwater is not connected.")
    late.route("**/api/v1/version", lambda r: r.fulfill(json={"version": "next", "started": None, "read_only": True}))

    do("resume")
    for page in (board, view, events):
        expect(page.locator(".live")).to_have_attribute("data-phase", "live")
        expect(page.locator(".stale-bar")).to_have_count(0)
    expect(board.locator(".row[data-state='closed']")).to_have_count(services)
    expect(article).to_have_attribute("data-state", "closed")
    expect(view.get_by_role("button", name="Reset", exact=True)).to_be_enabled()
    expect(view.locator(".proxy-row .state[data-look='closed']")).to_have_count(1)
    assert not view.evaluate("window.told"), "a failure was told of before Breakwater could answer"
    expect(dialog.get_by_role("alert")).to_have_text("This address only shows now: it takes no actions.")
    expect(dialog.get_by_role("button", name="Reset")).to_be_disabled()
    watched.outage = False
