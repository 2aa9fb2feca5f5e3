"""Every view can be used by everybody: axe finds nothing, in both themes and sizes; the keyboard suffices.

It also takes the pictures that somebody is to look at.
"""

import json
import os

import axe_playwright_python
from browser import DESKTOP, PHONE, browser, breakwater, expect, gateway, row, shot

with open(os.path.join(os.path.dirname(axe_playwright_python.__file__), "axe.min.js")) as file:
    AXE = file.read()
FRAUD = os.path.join(os.environ["SHOP"], "examples", "shop", "fraud.yaml")
problems: list[str] = []
CONTRAST = {"runOnly": ["color-contrast"]}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def trip():
    """trip has the fraud service open with a host ejected, for as long as its timeout says."""
    breakwater("reset", "fraud-service")
    for _ in range(6):
        gateway("/api/v1/fraud/score")


def check(page, name: str, width: int):
    shot(page, name)
    page.evaluate(AXE)
    # The rules but that of contrast hold in both themes or in none.
    rules = RULES if name.endswith(("light-1280", "dark-375")) else CONTRAST
    found = page.evaluate("async (options) => (await axe.run(options)).violations", rules)
    for violation in found:
        nodes = [n["html"][:160] + " " + n["failureSummary"][:300] for n in violation["nodes"][:4]]
        print(name, violation["id"], violation["help"], json.dumps(nodes, indent=1))
        problems.append(f"{name}: {violation['id']}")
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        problems.append(f"{name} is {wide} px wide")


def to(page, view: str):
    page.goto(page.url.split("#")[0] + view)


def views(page, name: str, width: int):
    trip()
    to(page, "#/")
    expect(row(page, "fraud-service")).to_have_attribute("data-state", "open")
    expect(page.locator(".rate").filter(has_text="/s").first).to_be_visible()
    check(page, f"board-{name}", width)

    to(page, "#/service/fraud-service")
    expect(page.locator(".policy").first).to_be_visible()
    expect(page.locator(".findings li").first).to_be_visible()
    expect(page.locator(".timeline li").first).to_be_visible()
    page.locator("details").evaluate_all("(all) => all.forEach((d) => { d.open = true; })")
    check(page, f"service-{name}", width)
    page.evaluate("scrollTo(0, 0)")
    shot(page, f"service-whole-{name}", full_page=True)
    page.get_by_role("button", name="Force open", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("For").select_option(label="Another time…")
    dialog.get_by_label("Duration").fill("soon")
    check(page, f"dialog-{name}", width)
    page.keyboard.press("Escape")

    to(page, "#/events")
    expect(page.locator(".timeline li").first).to_be_visible()
    check(page, f"events-{name}", width)

    to(page, "#/config")
    expect(page.locator(".problem-error .excerpt")).to_be_visible()
    expect(page.locator("[data-disconnected]")).to_be_visible()
    page.locator("[name=file]").fill("pricing.yaml")
    page.locator("[name=content]").fill("service: pricing-service\nupstream: http://127.0.0.1:1\n")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator(".plan")).to_be_visible()
    page.locator("details").evaluate_all("(all) => all.forEach((d) => { d.open = true; })")
    check(page, f"config-{name}", width)
    page.evaluate("scrollTo(0, 0)")
    shot(page, f"config-whole-{name}", full_page=True)

    to(page, "#/service/no-such-service")
    expect(page.get_by_text("No policy names a service")).to_be_visible()
    to(page, "#/nowhere")
    expect(page.get_by_text("There is nothing at this address")).to_be_visible()


def keyboard(page):
    """Search, go down the rows, enter one, go back, and order and dismiss without a mouse."""
    trip()
    to(page, "#/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("pricing eject")  # a word of a name, a word of another's cause
    expect(page.locator(".row")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.type("fraud eject")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".row")).to_have_count(7)
    page.keyboard.type("-service")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-row='0']")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    third = page.locator("[data-row='2']")
    expect(third).to_be_focused()
    outline = third.evaluate("(e) => getComputedStyle(e, '::after').outlineStyle")
    assert outline == "solid", f"the focus is not seen: {outline}"
    name = third.inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(name)
    page.go_back()
    expect(page.locator(".row")).to_have_count(7)
    expect(page.get_by_role("searchbox")).to_have_value("-service")
    page.go_forward()
    expect(page.locator("h1")).to_have_text(name)
    button = page.get_by_role("button", name="Disable", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        inside = page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
        assert inside, "the focus leaves the dialog"
    page.keyboard.press("Escape")
    expect(button).to_be_focused()

    # Filters say whether they are on.
    to(page, "#/")
    page.get_by_role("searchbox").fill("")
    chip = page.get_by_role("button", name="open", exact=False).first
    chip.press("Space")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".row:not([data-state='open'])")).to_have_count(0)
    chip.press("Space")
    page.get_by_label("Sort").select_option("name")
    expect(page.locator(".row").first).to_have_attribute("data-service", "chatbot-service")
    page.get_by_label("Sort").select_option("trouble")
    expect(page.locator(".row").first).to_have_attribute("data-service", "fraud-service")


def themes(page):
    """The switch goes before the system's choice, and is remembered."""
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "dark")
    switch = page.get_by_role("button", name="Theme")
    switch.click()
    expect(html).to_have_attribute("data-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-theme", "light")
    switch.click()
    expect(html).to_have_attribute("data-theme", "dark")
    switch.click()
    page.emulate_media(color_scheme="light")
    expect(html).to_have_attribute("data-theme", "light")


with browser() as watched:
    breakwater("demo", "fail", "fraud-service")
    with open(FRAUD) as file:
        good = file.read()
    with open(FRAUD, "w") as file:
        file.write(good.replace("max_retries: 1", "max_retries: many"))
    for scheme in ("light", "dark"):
        for size, viewport in (("1280", DESKTOP), ("375", PHONE)):
            page = watched.page(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
            views(page, f"{scheme}-{size}", viewport["width"])
            page.context.close()
    keyboard(watched.page())
    themes(watched.page(color_scheme="dark"))
    with open(FRAUD, "w") as file:
        file.write(good)
    breakwater("demo", "heal", "fraud-service")
    breakwater("reset", "fraud-service")
    assert not problems, "\n".join(problems)
