"""What was before a page was opened is in its plots, and what nobody knows is in none."""

import datetime
import re
import time

from browser import URL, api, breakwater, browser, do, expect, gateway, row

FRAUD = "fraud-service"


def trip() -> tuple[int, int]:
    """trip has the breaker open and closed again while nobody looks, and returns the attempts and failures there were."""
    breakwater("demo", "fail", FRAUD)
    for _ in range(6):
        gateway("/api/v1/fraud/score")
    breakwater("demo", "heal", FRAUD)
    breakwater("reset", FRAUD)
    return reported(FRAUD, 3)


def reported(service: str, failures: int) -> tuple[int, int]:
    """reported waits until that many failures are in the history, and returns all attempts and failures."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for s in api(f"/api/v1/history?services={service}")["services"]:
            if sum(s["failures"]) >= failures:
                return sum(s["attempts"]), sum(s["failures"])
    raise AssertionError(f"{failures} failures of {service} were not reported")


def plot(page):
    return row(page, FRAUD).get_by_role("img")


def shows(attempts: int, failures: int):
    """shows is what a small plot is called that begins with the start of Breakwater: not with zeros before it."""
    return re.compile(rf"^in 15 min {attempts} attempts?, {failures} failed, known since \d\d:\d\d:\d\d$")


def gap(watched):
    """gap is a page that is told of two proxies, then of none and then of one: what it can not know it says."""
    page = watched.context().new_page()
    step, start = 10, time.time() // 10 * 10 - 50

    def at(seconds: float) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()

    answer = {
        "since": at(start - 3600), "start": at(start), "end": at(start + 5 * step), "step": "10s",
        "proxies": [2, 2, 0, 1, 1],
        "services": [{"service": FRAUD, "attempts": [10, 20, 0, 30, 40], "failures": [], "refused": [0, 0, 0, 0, 5]}],
    }
    page.route("**/api/v1/history?*", lambda r: r.fulfill(json=answer))
    page.goto(f"{URL}/#/")
    expect(plot(page)).to_have_attribute("aria-label", re.compile("^in 15 min 100 attempts, 0 failed, known since"))
    drawn = plot(page).locator(".spark-all").get_attribute("d")
    assert drawn.count("M") == 2, f"the line has no gap: {drawn}"
    page.goto(f"{URL}/#/service/{FRAUD}")
    clock = page.evaluate("(all) => all.map((s) => new Date(s * 1000).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false}))",
                          [start + i * step for i in range(6)])
    expect(page.locator(".card-traffic .plot-note").filter(has_text=re.compile("^(In|Nothing|Only)"))).to_have_text([
        "In the last 15 min: 100 attempts, 0 failed, 5 requests refused.",
        f"Nothing is known before {clock[0]}.",
        f"Nothing is known from {clock[2]} to {clock[3]}.",
        f"Only 1 of 2 proxies reported from {clock[3]} to {clock[5]}.",
    ])
    page.close()


with browser() as watched:
    attempts, failures = trip()
    print(f"{attempts} attempts, {failures} failed before the page was opened")
    assert failures == 3

    board = watched.page()
    expect(plot(board)).to_have_attribute("aria-label", shows(attempts, failures))
    expect(plot(board).locator(".spark-failed")).to_have_count(1)
    expect(row(board, "vision-service").locator(".spark-base")).to_have_count(1)
    expect(row(board, "vision-service").locator(".spark-all, .spark-failed")).to_have_count(0)

    view = watched.page(f"#/service/{FRAUD}")
    told = view.locator(".card-traffic .plot-note")
    expect(told.nth(0)).to_have_text(re.compile(rf"In the last 15 min: {attempts} attempts, 3 failed \(from \d\d:\d\d:\d\d to \d\d:\d\d:\d\d\)\.$"))
    expect(told.nth(1)).to_have_text(re.compile(r"Nothing is known before \d\d:\d\d:\d\d\."))
    expect(view.get_by_role("img", name=re.compile(r"Attempts per second at the service: attempts [0-9.<]+, failed [0-9.<]+"))).to_be_visible()

    # It goes on.
    for _ in range(4):
        assert gateway("/api/v1/fraud/score") == 200
    expect(plot(board)).to_have_attribute("aria-label", shows(attempts + 4, failures))
    expect(told.nth(0)).to_contain_text(f"{attempts + 4} attempts, 3 failed")

    gap(watched)

    # Another Breakwater knows nothing of before. A page that was open goes on from what it knew; a new one begins anew.
    watched.outage = True
    do("stop")
    expect(board.locator(".live")).to_have_attribute("data-phase", "stale")
    do("resume")
    for page in (board, view):
        expect(page.locator(".live")).to_have_attribute("data-phase", "live")
    watched.outage = False
    fresh = watched.page()
    expect(plot(fresh)).to_have_attribute("aria-label", re.compile(r"^in 15 min \d+ attempts?, 0 failed, known since"))
    expect(plot(board)).to_have_attribute("aria-label", re.compile(r"^in 15 min \d+ attempts?, 3 failed, known since"))
    expect(told.nth(0)).to_contain_text(", 3 failed (")
