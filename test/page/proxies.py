"""Two proxies: each has its own breaker, and an order is for one or for both, with the proof of each."""

import re

from browser import api, breakwater, browser, do, expect, row, shot

FRAUD = "fraud-service"


def of(view, proxy: str):
    return view.locator(f"tbody[data-proxy='{proxy}']")


def proved(dialog, verb: str, *proxies: str):
    """proved confirms an action and has its proof read, which is of each of these proxies and of no other."""
    dialog.get_by_label("Reason").fill("drill")
    dialog.get_by_role("button", name=verb).click()
    proof = dialog.locator(".proof")
    expect(proof).to_have_attribute("data-ok", "true")
    expect(proof.locator("tbody tr")).to_have_count(len(proxies))
    assert proof.locator("tbody th").all_inner_texts() == list(proxies)
    expect(proof.locator("tbody td.good")).to_have_text(["proved"] * len(proxies))
    shot(dialog.page, f"proof-{verb}")
    text = proof.inner_text()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    return text


def opens(board, view):
    """The errors of one proxy's requests open its breaker, and not the other's."""
    breakwater("demo", "fail", FRAUD)
    do("fail through one")
    expect(row(board, FRAUD)).to_have_attribute("data-state", "open")
    expect(row(board, FRAUD).locator(".cell-proxies")).to_have_text("open on 1 of 2")
    expect(row(board, FRAUD).locator(".mark-part")).to_have_text("on 1 of 2")
    expect(view.locator(".service-facts")).to_contain_text("open on 1 of 2 proxies")
    expect(of(view, "one").locator(".state")).to_have_attribute("data-look", "open")
    expect(of(view, "one").locator(".flag-bad")).to_have_text("ejected")
    expect(of(view, "two").locator(".state")).to_have_attribute("data-look", "closed")
    expect(of(view, "two").locator(".flag")).to_have_text("in rotation")
    expect(view.locator(".machine-on[data-look='open']")).to_contain_text("1/2")
    expect(view.locator(".machine-on[data-look='closed']")).to_contain_text("1/2")
    shot(view, "proxies", full_page=True)
    do("fail through two")
    expect(row(board, FRAUD).locator(".cell-proxies")).to_have_text("open on 2 of 2")
    expect(of(view, "two").locator(".state")).to_have_attribute("data-look", "open")


def resets(board, view):
    """A reset is for all, and each proxy proves it."""
    expect(view.locator(".service-facts")).to_contain_text("open on 2 of 2 proxies")
    breakwater("demo", "heal", FRAUD)
    view.get_by_role("button", name="Reset", exact=True).click()
    dialog = view.get_by_role("dialog")
    expect(dialog).to_contain_text("closed on all 2 connected proxies")
    expect(dialog.locator(".standing")).to_have_text("Now Open on 2 of 2 proxies")
    text = proved(dialog, "Reset", "one", "two")
    assert text.count("none ejected") == 2, text
    expect(row(board, FRAUD)).to_have_attribute("data-state", "closed")
    expect(row(board, FRAUD).locator(".cell-proxies")).to_have_text("closed on 2 of 2")
    expect(view.locator(".proxy-row .state[data-look='closed']")).to_have_count(2)


def orders(board, view):
    """An order for one proxy alone, for a time of one's own; and its end."""
    view.get_by_role("button", name="Force open", exact=True).click()
    dialog = view.get_by_role("dialog")
    expect(dialog).to_contain_text("through all 2 connected proxies, nor through those that connect later")
    dialog.get_by_role("combobox", name="On", exact=True).select_option("two")
    expect(dialog).to_contain_text("through proxy two.")
    expect(dialog.locator(".standing")).to_have_text("Now Closed on two")

    # By the keyboard alone; what is no duration is refused, and said why.
    dialog.get_by_label("For").focus()
    view.keyboard.press("End")
    view.keyboard.press("Tab")
    duration = dialog.get_by_label("Duration")
    expect(duration).to_be_focused()
    for text, words in ("45", "Say the unit: 45s, 45m or 45h"), ("-1h", "must not be negative"), ("soon", "no duration"), ("2h 30m", "no duration"), ("+", "no duration"), ("0.1ns", "too short"), ("2562047h", "longer than 100 years"), ("0", "choose “For ever”"):
        duration.fill(text)
        expect(duration).to_have_attribute("aria-invalid", "true")
        expect(duration).to_have_accessible_description(re.compile(re.escape(words)))
    view.keyboard.press("Enter")
    expect(duration).to_be_focused()
    shot(view, "dialog-duration")
    expect(dialog.locator(".proof")).to_have_count(0)
    duration.fill("2h30m")
    expect(duration).to_have_attribute("aria-invalid", "false")
    expect(duration).to_have_accessible_description(re.compile(r"^Until .*\d\d:\d\d:\d\d\.$"))
    # The time of its end moves on each second, and is not announced each second.
    expect(dialog.locator("#lifetime-words [role=status]")).to_be_empty()
    proved(dialog, "Force open", "two")
    expect(row(board, FRAUD)).to_have_attribute("data-state", "forced_open")
    expect(row(board, FRAUD).locator(".cell-proxies")).to_have_text("forced open on 1 of 2")
    expect(row(board, FRAUD).locator(".countdown")).to_have_text(re.compile("^2 h (29|30) min$"))
    expect(of(view, "two").locator(".state")).to_have_attribute("data-look", "forced_open")
    expect(of(view, "one").locator(".state")).to_have_attribute("data-look", "closed")
    (order,) = api("/api/v1/orders")["orders"]
    assert order["proxy"] == "two", order

    of(view, "two").get_by_role("button", name="Release on two").click()
    proved(view.get_by_role("dialog"), "Release", "two")
    expect(row(board, FRAUD)).to_have_attribute("data-state", "closed")
    assert api("/api/v1/orders")["orders"] == []


def follows(view):
    """An open confirmation is of the breaker as it is now, and says what has changed."""
    expect(view.locator(".service-facts")).to_contain_text("closed on 2 of 2 proxies")
    view.get_by_role("button", name="Force open", exact=True).click()
    dialog = view.get_by_role("dialog")
    expect(dialog.locator(".standing")).to_have_text("Now Closed on 2 of 2 proxies")
    expect(dialog.locator(".warn")).to_have_count(0)
    breakwater("force-open", FRAUD, "--proxy", "one", "--reason", "a colleague was quicker")
    expect(dialog.locator(".standing")).to_have_text("Now Forced open on 1 of 2 proxies")
    expect(dialog.locator(".warn")).to_have_text("It has changed since you asked: it was closed on 2 of 2 proxies.")
    shot(view, "dialog-changed")
    breakwater("release", FRAUD)
    expect(dialog.locator(".warn")).to_have_count(0)

    dialog.get_by_role("combobox", name="On", exact=True).select_option("two")
    do("stop two")
    expect(dialog.locator(".warn")).to_have_text("Proxy two is no longer connected.")
    expect(dialog.get_by_role("button", name="Force open")).to_be_disabled()
    dialog.get_by_role("combobox", name="On", exact=True).select_option("all proxies")
    expect(dialog).to_contain_text("through the one connected proxy, nor")
    expect(dialog.get_by_role("button", name="Force open")).to_be_enabled()
    view.keyboard.press("Escape")


def alone(view):
    """An override holds without any proxy, and a reset ends it: each has reached none, and says so."""
    do("stop one")
    expect(view.locator(".service-facts")).to_contain_text("no proxy is connected")
    dialog = view.get_by_role("dialog")
    for verb, words, done in (
        ("Force open", "those that connect later follow", "The override holds all the same, for those that connect later."),
        ("Reset", "if the service has an operator's override, that ends", "An operator's override has ended all the same."),
    ):
        view.get_by_role("button", name=verb, exact=True).click()
        expect(dialog.locator(".effect")).to_contain_text(words)
        dialog.get_by_label("Reason").fill("drill")
        dialog.get_by_role("button", name=verb).click()
        expect(dialog.locator(".proof")).to_have_text(f"Failed. It reached no proxy: none is connected. {done}")
        dialog.get_by_role("button", name="Close").click()
    assert api("/api/v1/orders")["orders"] == []


with browser() as watched:
    first, second = watched.page("#/"), watched.page(f"#/service/{FRAUD}")
    expect(first.locator(".cell-proxies").first).to_have_text("closed on 2 of 2")
    opens(first, second)
    resets(first, second)
    orders(first, second)
    follows(second)
    alone(second)
