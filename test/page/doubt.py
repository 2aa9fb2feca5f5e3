"""What is not known is not shown as if it were, and no tab takes what the others need."""

import json
import os
import urllib.request

from browser import PHONE, URL, browser, expect, row

SEARCH = os.path.join(os.environ["SHOP"], "examples", "shop", "search.yaml")
VIEW = "article[data-service='{}']"


def goto(page, path: str):
    page.evaluate("(to) => { location.hash = to; }", path)


def order(service: str, action: str, **body):
    request = urllib.request.Request(
        f"{URL}/api/v1/breakers/{service}/{action}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["ok"]


def confirms(page):
    """A confirmation goes with its view, and an answer that is lost is no refusal."""
    page.get_by_role("button", name="Force open", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Force search-service open?")
    goto(page, "#/service/vision-service")
    expect(page.locator(VIEW.format("vision-service"))).to_be_visible()
    expect(dialog).to_have_count(0)

    page.get_by_role("button", name="Force open", exact=True).click()
    dialog.get_by_label("Reason").fill("drill")
    page.route("**/force-open", lambda r: r.abort())
    dialog.get_by_role("button", name="Force open").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It is not known whether it was done")
    page.unroute("**/force-open")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.get_by_role("button", name="Reset", exact=True).click()
    lost = {"proxy": "edge", "acknowledged": False, "ejected_before": [], "ejected_after": [], "note": "", "error": "silence", "from": "open"}
    answer = {"service": "vision-service", "host": "", "ok": False, "pushed": True, "generation": "1", "proxies": [lost]}
    page.route("**/reset", lambda r: r.fulfill(json=answer))
    dialog.get_by_role("button", name="Reset").click()
    expect(dialog.locator("tbody")).to_contain_text("unknown")
    expect(dialog.locator("tbody")).not_to_contain_text("none ejected")
    page.unroute("**/reset")
    page.keyboard.press("Escape")


def fails(page):
    """The stream goes on and the calls fail: what is shown of the proxies is said to be old."""
    view = page.locator(VIEW.format("vision-service"))
    expect(view.locator(".proxy-row .state")).to_have_attribute("data-look", "closed")
    page.route("**/breakers/vision-service", lambda r: r.fulfill(status=500, json={"code": 13, "message": "out of order"}))
    expect(view.locator(".card-proxies .failed")).to_contain_text("out of order")
    expect(view.locator(".proxy-row .state")).to_have_attribute("data-look", "unknown")
    expect(view.locator(".machine-on")).to_have_count(0)
    expect(page.locator(".live")).to_have_attribute("data-phase", "live")
    page.unroute("**/breakers/vision-service")
    expect(view.locator(".proxy-row .state")).to_have_attribute("data-look", "closed")
    expect(view.locator(".card-proxies .failed")).to_have_count(0)


def leaves(page):
    """A service that is taken out while its view is open has no state and takes no orders."""
    goto(page, "#/service/search-service")
    expect(page.locator(".proxy-row")).to_have_count(1)
    os.rename(SEARCH, SEARCH + ".away")
    try:
        expect(page.locator(".empty")).to_contain_text("no longer served")
        expect(page.locator("article, .service-actions")).to_have_count(0)
    finally:
        os.rename(SEARCH + ".away", SEARCH)
    expect(page.locator(VIEW.format("search-service"))).to_have_attribute("data-state", "closed")


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def hides(context):
    """Tabs that nobody sees keep no connection: a browser has six for all of them."""
    tabs = []
    for _ in range(7):
        tab = context.new_page()
        tab.clock.install()
        tab.goto(f"{URL}/#/events")
        expect(tab.locator(".live")).to_have_attribute("data-phase", "live")
        tab.evaluate(HIDE, True)
        tab.clock.fast_forward(11_000)
        expect(tab.locator(".live")).to_have_attribute("data-phase", "connecting")
        tabs.append(tab)
    tabs[0].evaluate(HIDE, False)
    expect(tabs[0].locator(".live")).to_have_attribute("data-phase", "live")
    for tab in tabs:
        tab.close()


def fits(page):
    """Whatever an operator has written, the page is no wider than the window."""
    order("vision-service", "disable", actor="x" * 80, reason="long " * 60)
    try:
        for size in PHONE, {"width": 800, "height": 1000}:
            page.set_viewport_size(size)
            for path in "#/service/vision-service", "#/":
                goto(page, path)
                expect(page.locator(".mark-order")).to_be_visible()
                if "service" in path:
                    expect(page.locator(".proxy-cause")).to_contain_text("disabled by")
                    expect(page.locator(".findings")).to_contain_text("disabled by")
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide == 0, f"{path} is {wide} pixels too wide at {size}"
        expect(row(page, "vision-service")).to_be_visible()
    finally:
        order("vision-service", "release")


with browser() as watched:
    first = watched.page("#/service/search-service")
    confirms(first)
    fails(first)
    leaves(first)
    fits(first)
    hides(first.context)
    # What was made up.
    watched.wrong = [w for w in watched.wrong if "500" not in w and "ERR_FAILED" not in w]
