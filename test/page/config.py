"""The view of the configuration.

A policy is broken and mended, and another planned: the page shows where it is wrong, and what it would do. A proxy
goes, and is forgotten.
"""

import os
import re

from browser import breakwater, browser, do, expect

FRAUD = os.path.join(os.environ["SHOP"], "examples", "shop", "fraud.yaml")


def breaks(page):
    with open(FRAUD) as file:
        good = file.read()
    lines = good.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if "failure_threshold: 3" in line)
    column = lines[at].index("failure_threshold") + 1
    lines[at] = lines[at].replace("failure_threshold", "failure_treshold")
    with open(FRAUD, "w") as file:
        file.write("".join(lines))
    card = page.locator("[data-config]")
    expect(card).to_have_attribute("data-config", "rejected")
    problem = card.locator(".problem-error")
    expect(problem).to_contain_text(f"fraud.yaml:{at + 1}:{column}")
    expect(problem).to_contain_text("failure_threshold")  # the suggestion
    excerpt = problem.locator(".excerpt")
    expect(excerpt).to_contain_text("failure_treshold: 3")
    expect(excerpt.locator(".excerpt-number")).to_have_count(5)
    expect(card).to_contain_text("Served by their last good version: fraud-service")
    # The mark stands under the name that is wrong.
    text = excerpt.inner_text().splitlines()
    wrong = next(line for line in text if "failure_treshold" in line)
    mark = text[text.index(wrong) + 1]
    assert mark.index("^") == wrong.index("failure_treshold"), (wrong, mark)
    badge = page.get_by_role("navigation").get_by_role("link", name=re.compile("Config"))
    expect(badge).to_contain_text("1")

    page.goto(page.url.split("#")[0] + "#/service/fraud-service")
    expect(page.locator(".card-policy")).to_contain_text("the last good version is in force")
    page.goto(page.url.split("#")[0] + "#/config")

    with open(FRAUD, "w") as file:
        file.write(good)
    expect(card).to_have_attribute("data-config", "ok")
    expect(problem).to_have_count(0)
    return good


def plans(page, good):
    """A change that is pasted is foreseen in words and values, one that is uploaded is wrong; nothing is applied."""
    planner = page.get_by_role("region", name="Plan a change")
    planner.get_by_label("File in the policy directory").fill("fraud.yaml")
    planner.get_by_label("Content of fraud.yaml").fill(good.replace("timeout: 30s", "timeout: 45s"))
    planner.get_by_role("button", name="Plan", exact=True).click()
    result = planner.locator(".plan")
    expect(result).to_have_attribute("data-plan", "ok")
    service = result.locator(".plan-service")
    expect(service).to_contain_text("changed fraud-service")
    change = service.locator("tr", has_text="breaker.timeout")
    expect(change).to_contain_text("30s")
    expect(change).to_contain_text("45s")
    expect(change).to_contain_text("fraud.yaml:11:12")
    result.get_by_text("What Envoy would be sent").click()
    expect(result.locator(".diff").first).to_contain_text("45s")

    planner.locator("input[type=file]").set_input_files(
        files=[{"name": "fraud.yaml", "mimeType": "text/yaml", "buffer": good.replace("30s", "soon").encode()}]
    )
    planner.get_by_role("button", name="Plan", exact=True).click()
    expect(result).to_have_attribute("data-plan", "rejected")
    expect(result.locator(".problem-error")).to_contain_text("fraud.yaml:11:12")
    expect(result.locator(".problem-error .excerpt")).to_contain_text("timeout: soon")

    assert "30s" in breakwater("explain", "fraud-service"), "a plan was applied"


def forgets(page):
    """A disconnected proxy is listed until an operator says that it was ended for good."""
    listed = page.get_by_role("region", name="Disconnected proxies")
    expect(listed).to_have_count(0)
    do("lose a proxy")
    line = listed.locator("[data-disconnected='edge-9']")
    expect(line).to_contain_text("spare")
    line.get_by_role("button", name="Forget edge-9").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Forget proxy edge-9?")
    expect(dialog).to_contain_text("This is for a proxy that was ended for good.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(line).to_be_visible()

    line.get_by_role("button", name="Forget edge-9").click()
    dialog.get_by_label("Reason").fill("scaled down")
    dialog.get_by_label("Your name").fill("ann")
    dialog.get_by_role("button", name="Forget", exact=True).click()
    expect(dialog.get_by_role("status")).to_have_text("Proxy edge-9 is forgotten.")
    dialog.get_by_role("button", name="Close").click()
    expect(listed).to_have_count(0)
    assert "edge-9" not in breakwater("proxies")
    page.goto(page.url.split("#")[0] + "#/events")
    event = page.locator(".timeline li", has_text="Proxy forgotten")
    expect(event).to_contain_text("edge-9")
    expect(event).to_contain_text("by ann: scaled down")
    expect(event.get_by_role("link")).to_have_count(0)


with browser() as watched:
    config = watched.page("#/config")
    plans(config, breaks(config))
    forgets(config)
