"""What is wrong with Breakwater's own state and with its proxies is seen on every view, and counted; without it nothing is."""

import re

from browser import browser, expect, shot
from fake import SHORT, at, breaker, config, problem, proxy, put, readable, serve

FULL = {"document": "overrides", "error": "write /var/lib/breakwater/overrides.json: no space left on device", "since": at(-3700)}
TWICE = "2 streams have had this node id for 3m"
OLD = "Envoy 1.38.2 is older than 1.39"


def badge(page):
    return page.locator(".nav-count")


def well(page):
    for view in "#/", "#/config":
        page.goto(page.url.split("#")[0] + view)
        expect(page.locator(".live")).to_have_attribute("data-phase", "live")
        expect(page.locator("main h1")).to_have_count(1)
        expect(badge(page)).to_have_count(0)
        expect(page.locator(".storage-bar")).to_have_count(0)
    expect(page.locator("[data-config='ok']")).to_be_visible()
    expect(page.locator(".more")).to_have_count(0)


def unsaved(page):
    """What cannot be saved is said on every view for as long as it is so."""
    config(storage_faults=[FULL])
    for view in "#/config", "#/", "#/events":
        page.goto(page.url.split("#")[0] + view)
        bar = page.locator(".storage-bar")
        expect(bar).to_have_text(re.compile(r"^Cannot save overrides since .*\d\d:\d\d:\d\d: write /var/lib/breakwater/overrides.json: no space left on device; changes are lost on a restart\.$"))
        expect(badge(page)).to_contain_text("1")
        expect(badge(page)).to_have_attribute("title", "1 fault in policies, storage and proxies")
        readable(page, view, "body")
    config(storage_faults=[FULL, {**FULL, "document": "events"}])
    expect(page.locator(".storage-bar p")).to_have_count(2)
    expect(badge(page)).to_contain_text("2")
    # Both bars: the head of the board stays below them, and over no row.
    for width in 390, 768, 1280:
        page.set_viewport_size({"width": width, "height": 700})
        page.goto(page.url.split("#")[0] + "#/")
        readable(page, f"two faults at {width}", "body")
        shot(page, f"faults-{width}")
    config(storage_faults=[{"document": "state.db", "error": "state.db is corrupt", "since": at(-60), "corrupt": True}])
    expect(page.locator(".storage-bar")).to_have_text(re.compile(r"^Cannot read state\.db, since .*: state\.db is corrupt; what could not be read is lost\.$"))
    config()
    expect(page.locator(".storage-bar")).to_have_count(0)
    expect(badge(page)).to_have_count(0)


def proxies(page):
    """What is wrong with a proxy is said at it, first of all, and counts."""
    put("proxies", {"proxies": [proxy("a-well"), proxy("b-twin", faults=[TWICE, OLD])], "missed": []})
    expect(badge(page)).to_contain_text("2")
    page.goto(page.url.split("#")[0] + "#/config")
    connected = page.get_by_role("region", name="Connected proxies", exact=True)
    expect(connected.locator("tbody tr").first).to_contain_text("b-twin")
    expect(connected.locator(".proxy-fault")).to_have_text([TWICE, OLD])
    expect(connected.locator("tbody tr").last).to_contain_text("a-well")
    shot(page, "proxy-faults")
    ended = {"node_cluster": "edge", "admin_address": "10.0.0.1:9901", "left": at(-300)}
    put("proxies", {"proxies": [proxy(SHORT)], "missed": [{**ended, "id": "c-killed", "replaced": False}, {**ended, "id": "d-old", "replaced": True}]})
    disconnected, replaced = (page.get_by_role("region", name=name, exact=True) for name in ("Disconnected proxies", "Replaced proxies"))
    expect(disconnected.locator("tbody th")).to_have_text(["c-killed"])
    expect(replaced.locator("tbody th")).to_have_text(["d-old"])
    shot(page, "proxies-replaced")
    put("proxies", {"proxies": [proxy(SHORT)], "missed": []})
    expect(disconnected).to_have_count(0)
    expect(replaced).to_have_count(0)
    expect(connected.locator(".proxy-fault")).to_have_count(0)
    expect(badge(page)).to_have_count(0)


def more(page):
    """An answer that is cut says by how much."""
    config(ok=False, problems=[problem("must be a duration")], more_problems=4711)
    card = page.locator("[data-config]")
    expect(card.locator(".more")).to_have_text("and 4,711 more")
    expect(badge(page)).to_contain_text("1+")
    # Errors come first: behind a warning there is none that is left out.
    config(ok=False, problems=[problem("must be a duration"), problem("low", severity="warning")], more_problems=4711)
    expect(card.locator(".problem-warning")).to_be_visible()
    expect(badge(page)).to_contain_text("1")
    expect(badge(page)).not_to_contain_text("+")
    answer = {"ok": False, "problems": [problem("must be a duration")], "services": [], "resources": [], "digest": "", "more_problems": 12}
    put("plan", answer)
    page.locator("[name=file]").fill("fraud.yaml")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator(".plan .more")).to_have_text("and 12 more")
    config()
    expect(card.locator(".more")).to_have_count(0)


with browser() as watched:
    serve(*[breaker(f"service-{i:02}", "closed") for i in range(40)])
    put("events:watch", {"event": {"id": "1", "time": at(-5), "kind": "reset", "service": "service-01", "proxy": "", "from": "", "to": "", "cause": "",
                                   "actor": "ann", "shadow": False, "host": "", "until": None}})  # fmt: skip
    page = watched.page()
    well(page)
    unsaved(page)
    proxies(page)
    more(page)
