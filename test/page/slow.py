"""Every answer takes 5 s: what is old is said to be, and nothing is asked for twice."""

import re

from browser import breakwater, browser, do, expect, row

SEARCH = "search-service"

# old remembers whether what was explained of the state before was seen beside the state of now.
OLD = """() => {
  window.old = false;
  new MutationObserver(() => {
    const forced = document.querySelector("article[data-state='forced_open']");
    window.old ||= forced?.querySelector(".card-explain .good") != null;
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""

with browser() as watched:
    view = watched.page(f"#/service/{SEARCH}", user_agent="view")
    config = watched.page("#/config", user_agent="config")
    proxies = view.locator(".card-proxies")
    expect(proxies.locator(".proxy-row .state[data-look='closed']")).to_have_count(2)
    expect(view.locator(".card-explain .good")).to_be_visible()
    expect(config.get_by_role("region", name="Connected proxies", exact=True)).to_be_visible()

    view.evaluate(OLD)
    do("slow")
    # One who comes now is told to wait.
    late = watched.context(user_agent="late").new_page()
    late.goto(view.url.split("#")[0] + "#/")
    expect(late.locator(".live")).to_have_attribute("data-phase", "connecting")
    expect(late.locator(".empty")).to_have_text("Waiting for Breakwater…")

    breakwater("force-open", SEARCH, "--reason", "drill")
    # The stream is open: it brings the state at once. What the calls know of before is not shown as if it were.
    expect(view.locator("article")).to_have_attribute("data-state", "forced_open")
    expect(proxies.locator(".failed")).to_contain_text("Breakwater answers slowly")
    expect(proxies.locator(".proxy-row .state[data-look='unknown']")).to_have_count(2)
    expect(view.locator(".machine-on")).to_have_count(0)
    expect(config.locator(".failed")).to_contain_text("Breakwater answers slowly")
    # Late is better than never.
    expect(view.locator(".card-explain")).to_contain_text(re.compile("forced open", re.IGNORECASE))
    assert not view.evaluate("window.old"), "it was explained why a breaker is closed that is forced open"

    # An order waits for its proof, and can not be given twice meanwhile.
    view.get_by_role("button", name="Release", exact=True).click()
    dialog = view.get_by_role("dialog")
    dialog.get_by_role("button", name="Release").click()
    expect(dialog.get_by_role("button", name="Waiting for the proof…")).to_be_disabled()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_disabled()
    expect(row(late, SEARCH)).to_be_visible()
    expect(dialog.locator(".proof")).to_have_attribute("data-ok", "true")
    expect(row(late, SEARCH)).to_have_attribute("data-state", "closed")

    do("quick")
    expect(proxies.locator(".failed")).to_have_count(0)
    expect(proxies.locator(".proxy-row .state[data-look='closed']")).to_have_count(2)
    expect(config.locator(".failed")).to_have_count(0)
