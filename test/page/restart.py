"""Breakwater goes away and comes back: what was known then is never shown as what is."""

import re

from browser import api, browser, do, expect, row

with browser() as watched:
    board, view, events = watched.page(), watched.page("#/service/search-service"), watched.page("#/events")
    article = view.locator("article")
    services = len(api("/api/v1/breakers")["breakers"])
    expect(board.locator(".row[data-state='closed']")).to_have_count(services)
    expect(article).to_have_attribute("data-state", "closed")

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

    do("resume")
    for page in (board, view, events):
        expect(page.locator(".live")).to_have_attribute("data-phase", "live")
        expect(page.locator(".stale-bar")).to_have_count(0)
    expect(board.locator(".row[data-state='closed']")).to_have_count(services)
    expect(article).to_have_attribute("data-state", "closed")
    expect(view.get_by_role("button", name="Reset", exact=True)).to_be_enabled()
    watched.outage = False
