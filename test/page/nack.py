"""What Breakwater takes for valid and the Envoys refuse: which proxies, which policy, which line; until it is mended."""

import os
import re

from browser import browser, expect, gateway, shot

FORECASTING = os.path.join(os.environ["SHOP"], "examples", "shop", "forecasting.yaml")


def write(text):
    with open(FORECASTING + ".new", "w") as file:
        file.write(text)
    os.rename(FORECASTING + ".new", FORECASTING)


with browser() as watched:
    page = watched.page("#/config")
    card = page.locator("[data-config]")
    expect(card).to_have_attribute("data-config", "ok")
    with open(FORECASTING) as file:
        good = file.read()
    lines = good.splitlines()
    at = next(i for i, line in enumerate(lines) if "prefix: /api/v1/forecast" in line)
    # A larger program than the bootstrap has Envoy accept.
    lines.insert(at + 1, "  - regex: '/api/v1/forecast/" + r"\pL{1000}" * 5 + "'")
    write("\n".join(lines) + "\n")

    refused = card.locator(".problem-error")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("Refused by Envoy")
    expect(refused).to_contain_text(f"forecasting.yaml:{at + 2}:")
    expect(refused).to_contain_text("max program size")
    expect(refused).to_contain_text(re.compile("Rejected by (one|two|one, two)"))
    expect(refused).to_contain_text("All proxies keep what they had before")
    expect(refused.get_by_role("link", name="forecasting-service")).to_have_attribute("href", "#/service/forecasting-service")
    expect(refused.locator(".excerpt-at")).to_contain_text(r"\pL{1000}")
    expect(card).to_have_attribute("data-config", "rejected")
    expect(card).to_contain_text("Not all that is on disk is in force")
    expect(page.get_by_role("navigation").get_by_role("link", name=re.compile("Config"))).to_contain_text("1")
    shot(page, "nack")
    refused.get_by_role("link", name="forecasting-service").click()
    policy = page.locator(".card-policy")
    expect(policy.locator(".problem-error")).to_contain_text("max program size")
    expect(policy.locator(".problem-error")).to_contain_text(f"forecasting.yaml:{at + 2}:")
    assert gateway("/api/v1/forecast") == 200, "the version before does not serve"

    page.go_back()
    expect(refused).to_have_count(1)
    write(good)
    expect(card).to_have_attribute("data-config", "ok")
    expect(refused).to_have_count(0)
    expect(page.locator(".nav-count")).to_have_count(0)
    page.go_forward()
    expect(policy.locator(".policy").first).to_be_visible()
    expect(policy.locator(".problem-error")).to_have_count(0)
