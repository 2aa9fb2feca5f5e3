"""A service fails, and operators act: the page shows it, in two browsers, and gives the orders."""

import re

from browser import api, breakwater, browser, expect, gateway, row

FRAUD = "fraud-service"

# seen remembers when a service's row was first seen in each state, by this machine's clock.
SEEN = """(service) => {
  window.seen = {};
  const look = () => {
    const state = document.querySelector(`.row[data-service="${service}"]`)?.dataset.state;
    if (state && !(state in window.seen)) window.seen[state] = Date.now();
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


def confirm(page, verb: str, reason: str = "", ttl: str | None = None):
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_label("Your name").fill("ann")
    if ttl:
        dialog.get_by_label("For").select_option(label=ttl)
    dialog.get_by_role("button", name=verb).click()
    proof = dialog.locator(".proof")
    expect(proof).to_have_attribute("data-ok", "true")
    expect(proof.locator("tbody tr")).to_have_count(1)
    expect(proof.locator("tbody tr")).to_contain_text("proved")
    return dialog


def trips(one, two):
    """Both browsers show it open within 2 s, with the cause, the hosts and a countdown that goes down."""
    for page in (one, two):
        expect(row(page, FRAUD)).to_have_attribute("data-state", "closed")
        page.evaluate(SEEN, FRAUD)
    breakwater("demo", "fail", FRAUD)
    for _ in range(6):
        gateway("/api/v1/fraud/score")
    for page in (one, two):
        expect(row(page, FRAUD)).to_have_attribute("data-state", "open")
    events = [e for e in api(f"/api/v1/events?service={FRAUD}")["events"] if e["to"] == "open"]
    opened = one.evaluate("(time) => Date.parse(time)", events[-1]["time"])
    for page in (one, two):
        late = page.evaluate("window.seen.open") - opened
        print(f"open on the page {late:.0f} ms after it opened")
        assert late < 2000, f"the page shows it {late} ms after the breaker opened"
    r = row(one, FRAUD)
    expect(r).to_contain_text("Open")
    expect(r).to_contain_text("failures")
    expect(r.locator(".cell-hosts")).to_contain_text("0 of 1")
    expect(r.locator(".cell-proxies")).to_have_text("open on 1 of 1")
    countdown = r.locator(".countdown")
    before = seconds(countdown.inner_text())
    expect(countdown).not_to_have_text(countdown.inner_text())
    assert seconds(countdown.inner_text()) < before
    assert one.locator(".row").first.get_attribute("data-service") == FRAUD, "trouble is not first"
    expect(one).to_have_title("1 open · Breakwater")


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+) s", text)[1])


def looks(page):
    """The service's own view has what the board has no room for."""
    row(page, FRAUD).get_by_role("link").click()
    view = page.locator(f"article[data-service='{FRAUD}']")
    expect(view).to_have_attribute("data-state", "open")
    expect(view.locator(".machine")).to_have_attribute("data-current", "open")
    expect(view.locator(".machine-on")).to_have_attribute("data-look", "open")
    expect(view.locator(".card-machine")).to_contain_text("3 of 100 failed")
    expect(view.locator(".card-machine")).to_contain_text("after 30s")
    expect(view.locator(".card-explain")).to_contain_text("the fallback at once")
    expect(view.locator(".card-explain")).to_contain_text("What to do:")
    expect(view.locator(".card-window")).to_contain_text("opens at 3")
    expect(view.locator("[data-host] .flag-bad")).to_have_text("ejected")
    expect(view.locator(".card-events")).to_contain_text("Closed → Open")
    expect(view.locator(".card-policy")).to_contain_text("breaker.failure_threshold")
    threshold = view.locator(".policy tr", has_text="breaker.failure_threshold").first
    expect(threshold).to_contain_text("fraud.yaml:10:22")
    for _ in range(3):
        gateway("/api/v1/fraud/score")
    plot = view.get_by_role("img", name=re.compile("Requests per second by outcome: .*fallback [0-9.]*[1-9]"))
    expect(plot).to_be_visible()
    expect(view.locator(".uplot canvas")).to_have_count(3)


def resets(one, two):
    """One browser resets it; both see it closed, and Envoy lets requests through."""
    breakwater("demo", "heal", FRAUD)
    one.get_by_role("button", name="Reset", exact=True).click()
    dialog = confirm(one, "Reset", "the database is back")
    expect(dialog).to_contain_text("127.")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(one.locator(f"article[data-service='{FRAUD}']")).to_have_attribute("data-state", "closed")
    expect(row(two, FRAUD)).to_have_attribute("data-state", "closed")
    expect(one.locator(".card-events")).to_contain_text("by ann: the database is back")
    assert gateway("/api/v1/fraud/score") == 200


def orders(one, two):
    """An order with a reason and a time, its mark on the other board, and its end."""
    one.goto(one.url.split("#")[0] + "#/service/vision-service")
    one.get_by_role("button", name="Force open", exact=True).click()
    dialog = one.get_by_role("dialog")
    expect(dialog).to_contain_text("No request reaches the service")
    expect(dialog.get_by_label("Your name")).to_have_value("ann")
    confirm(one, "Force open", "drill", "5 minutes").get_by_role("button", name="Close").click()
    vision = row(two, "vision-service")
    expect(vision).to_have_attribute("data-state", "forced_open")
    expect(vision).to_contain_text("Forced open")
    expect(vision.locator(".mark-order")).to_have_attribute("title", "Override by ann: drill")
    expect(vision.locator(".countdown")).to_have_text(re.compile("4 min"))
    (order,) = api("/api/v1/orders")["orders"]
    assert order["service"] == "vision-service" and order["order"]["actor"] == "ann" and order["order"]["reason"] == "drill"
    assert gateway("/api/v1/vision") == 503

    one.get_by_role("button", name="Release", exact=True).click()
    confirm(one, "Release").get_by_role("button", name="Close").click()
    expect(vision).to_have_attribute("data-state", "closed")
    assert gateway("/api/v1/vision") == 200
    assert api("/api/v1/orders")["orders"] == []

    # On one proxy alone, from its row; and an order that can not be given is not shown as done.
    one.locator(".proxy-row").get_by_role("button", name="Force open").click()
    dialog = one.get_by_role("dialog")
    expect(dialog).to_contain_text("through proxy")
    one.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    one.get_by_role("button", name="Disable", exact=True).click()
    dialog.get_by_label("Reason").fill("drill")
    one.route("**/disable", lambda r: r.fulfill(status=409, json={"code": 9, "message": "no, not now"}))
    dialog.get_by_role("button", name="Disable").click()
    expect(dialog.get_by_role("alert")).to_have_text("Not done: no, not now")
    one.unroute("**/disable")
    one.route(
        "**/disable",
        lambda r: r.fulfill(
            json={
                "service": "vision-service",
                "ok": False,
                "until": None,
                "proxies": [{"proxy": "edge", "acknowledged": False, "state": "unknown", "note": "", "error": "no answer from its admin API"}],
            }
        ),
    )
    dialog.get_by_role("button", name="Disable").click()
    proof = dialog.locator(".proof")
    expect(proof).to_have_attribute("data-ok", "false")
    expect(proof).to_contain_text("It reached no proxy.")
    expect(proof.locator("tbody tr")).to_contain_text("no answer from its admin API")
    dialog.get_by_role("button", name="Close").click()


with browser() as watched:
    first, second = watched.page(), watched.page()
    trips(first, second)
    looks(first)
    resets(first, second)
    orders(first, second)
    watched.wrong = [w for w in watched.wrong if "409" not in w]  # the one that was made up
