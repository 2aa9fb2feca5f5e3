"""A policy is broken and mended, and another planned: the page shows where it is wrong, and what it would do."""

import os
import re

from browser import breakwater, browser, expect, row

FRAUD = os.path.join("examples", "shop", "fraud.yaml")


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
    badge.press("Home")

    page.goto(page.url.split("#")[0] + "#/service/fraud-service")
    expect(page.locator(".card-policy")).to_contain_text("the last good version is in force")
    page.goto(page.url.split("#")[0] + "#/config")

    with open(FRAUD, "w") as file:
        file.write(good)
    expect(card).to_have_attribute("data-config", "ok")
    expect(problem).to_have_count(0)
    return good


with browser() as watched:
    config = watched.page("#/config")
    policy = breaks(config)
