"""A breaker that only observes, and a limit that is hit: the board and the service's view mark both."""

import os
import re
from concurrent import futures

from browser import breakwater, browser, expect, gateway, row, shot

pool = futures.ThreadPoolExecutor(24)
SHOP = os.path.join(os.environ["SHOP"], "examples", "shop")


def append(name, text):
    path = os.path.join(SHOP, name)
    with open(path) as file:
        old = file.read()
    with open(path + ".new", "w") as file:
        file.write(old + text)
    os.rename(path + ".new", path)


def shadows(board, view):
    """It would have opened, and every request goes through all the same."""
    vision = row(board, "vision-service")
    append("vision.yaml", "breaker: {shadow: true, failure_threshold: 3}\n")
    expect(vision.locator(".mark-shadow")).to_have_text("shadow")
    expect(view.locator(".service-head .mark-shadow")).to_have_text("shadow")
    breakwater("demo", "fail", "vision-service")
    statuses = [answer.result() for answer in [pool.submit(gateway, "/api/v1/vision") for _ in range(24)]]
    assert statuses == [500] * 24, f"a breaker that only observes refuses requests: {statuses}"
    expect(vision.locator(".mark-shadow")).to_have_text("shadow: would be open")
    expect(vision).to_have_attribute("data-state", "closed")
    expect(view.locator("article")).to_have_attribute("data-state", "closed")
    expect(view.locator(".service-head .mark-shadow")).to_have_text("shadow: would be open")
    expect(view.locator(".proxy-row .mark-shadow", has_text="would be open").first).to_be_visible()
    expect(view.locator(".card-events li", has_text="Closed → Open").first.locator(".mark-shadow")).to_be_visible()
    # It is more in need of eyes than those that are well.
    expect(board.locator(".row[data-state='closed']").first).to_have_attribute("data-service", "vision-service")
    breakwater("demo", "heal", "vision-service")


def overloads(board, view):
    """The mark is there while the limit is hit, and then no more."""
    pricing = row(board, "pricing-service")
    expect(view.locator(".policy tr", has_text="limits.max_requests").first).to_contain_text("pricing.yaml")
    breakwater("demo", "slow", "pricing-service", "--delay", "3s")
    waiting = [pool.submit(gateway, "/api/v1/pricing/1") for _ in range(3)]
    for place in pricing, view.locator(".service-head"):
        expect(place.locator(".mark-overloaded")).to_have_text("overloaded")
    shot(board, "marks")
    expect(view.locator(".proxy-row .mark-overloaded").first).to_be_visible()
    expect(pricing).to_have_attribute("data-state", "closed")
    futures.wait(waiting)
    for place in pricing, view.locator("article"):
        expect(place.locator(".mark-overloaded")).to_have_count(0)
    expect(view.get_by_role("img", name=re.compile("outcome: .*overloaded")).first).to_be_visible()
    breakwater("demo", "heal", "pricing-service")


with browser() as watched:
    append("pricing.yaml", "limits: {max_requests: 1}\n")
    first, second = watched.page("#/"), watched.page("#/service/vision-service")
    shadows(first, second)
    overloads(first, watched.page("#/service/pricing-service"))
