"""An override ends after 15 minutes unless another time or for ever is chosen on purpose, and has a reason."""

import re

from browser import browser, expect, shot
from fake import at, breaker, detail, in_proxy, order, posted, put, serve

SERVICE = "fraud-service"
PATH = f"breakers/{SERVICE}"
TAKEN = {"proxy": "edge-1", "acknowledged": True, "state": "forced_open", "note": "it fails fast", "error": ""}
LATE = {"proxy": "edge-2", "acknowledged": False, "state": "unknown", "note": "", "error": "it did not accept it within 5s"}


def asks(page, verb: str):
    page.get_by_role("button", name=verb, exact=True).click()
    return page.get_by_role("dialog")


def answered(path: str, **more):
    put(f"{PATH}/{path}", {"service": SERVICE, "ok": True, "until": at(900), "proxies": [TAKEN], **more})


def needs(page):
    """Force open and Disable want a reason that says something; Reset and Release do not."""
    for verb, path in ("Force open", "force-open"), ("Disable", "disable"):
        dialog = asks(page, verb)
        expect(dialog.get_by_label("For")).to_have_value("900")
        reason = dialog.get_by_label("Reason")
        for text in "", "   ":
            reason.fill(text)
            dialog.get_by_role("button", name=verb).click()
            expect(reason).to_be_focused()
            assert reason.evaluate("(e) => !e.validity.valid")
            expect(dialog.locator(".proof")).to_have_count(0)
        reason.fill("drill")
        answered(path)
        dialog.get_by_role("button", name=verb).click()
        expect(dialog.locator(".proof")).to_have_attribute("data-ok", "true")
        sent = posted(f"{PATH}/{path}")
        assert sent["ttl"] == "900.000000000s" and "for_ever" not in sent and sent["reason"] == "drill", sent
        dialog.get_by_role("button", name="Close").click()
    put(f"{PATH}/reset", {"service": SERVICE, "host": "", "ok": True, "pushed": False, "generation": "1", "proxies": []})
    dialog = asks(page, "Reset")
    dialog.get_by_role("button", name="Reset").click()
    expect(dialog.locator(".proof")).to_be_visible()
    assert posted(f"{PATH}/reset")["reason"] == ""
    dialog.get_by_role("button", name="Close").click()


def lasts(page):
    """For ever is a choice of its own: a time of 0 is none."""
    dialog = asks(page, "Force open")
    dialog.get_by_label("Reason").fill("sold")
    dialog.get_by_label("For").select_option(label="Another time…")
    duration = dialog.get_by_label("Duration")
    for text in "0", "0s", "+0", "0h0m":
        duration.fill(text)
        expect(duration).to_have_attribute("aria-invalid", "true")
        expect(duration).to_have_accessible_description(re.compile("choose “For ever”"))
    dialog.get_by_label("For").select_option(label="For ever, until it is released")
    answered("force-open", until=None)
    dialog.get_by_role("button", name="Force open").click()
    expect(dialog.locator(".proof")).to_have_attribute("data-ok", "true")
    sent = posted(f"{PATH}/force-open")
    assert sent["for_ever"] is True and "ttl" not in sent, sent
    dialog.get_by_role("button", name="Close").click()


def fails(page):
    """An override that reached no proxy has failed, and what holds nevertheless is said."""
    for proxies, words in (
        ([], "It reached no proxy: none is connected. The override holds all the same, for those that connect later."),
        ([LATE], "It reached no proxy. The override holds all the same, for a proxy once it answers."),
        ([TAKEN, LATE], "Not proved on every proxy."),
    ):
        answered("force-open", ok=False, proxies=proxies)
        dialog = asks(page, "Force open")
        dialog.get_by_label("Reason").fill("drill")
        dialog.get_by_role("button", name="Force open").click()
        proof = dialog.locator(".proof")
        expect(proof).to_have_attribute("data-ok", "false")
        expect(proof.locator("p").first).to_have_class("bad")
        expect(proof).to_contain_text(words)
        expect(proof).not_to_contain_text("Done")
        shot(page, f"failed-{len(proxies)}")
        dialog.get_by_role("button", name="Close").click()


def unsaved(page):
    """What could not be saved is said where it was ordered, and for as long as it stands."""
    answered("force-open", not_saved=True, not_saved_reason="no space left on device")
    dialog = asks(page, "Force open")
    dialog.get_by_label("Reason").fill("drill")
    dialog.get_by_role("button", name="Force open").click()
    expect(dialog.locator(".proof .warn")).to_have_text("Not saved: no space left on device; ends in at most 15 minutes.")
    shot(page, "not-saved")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(".not-saved")).to_have_count(0)
    standing = order("forced_open", until=at(600))
    put("orders", {"orders": [{"service": SERVICE, "proxy": "", "since": at(-5), "order": standing, "not_saved": True, "not_saved_reason": "read-only file system"}]})
    forced = breaker(SERVICE, "forced_open", order=standing, until=at(600))
    detail(forced, [in_proxy("edge-1", "forced_open", order=standing)])
    put("breakers:watch", {"snapshot": False, "breakers": [forced], "removed": []})
    expect(page.locator(".not-saved")).to_have_text("Not saved: read-only file system; ends in at most 15 minutes.")
    expect(page.locator(".not-saved")).to_have_count(1)
    # It is so without a proxy, too, of which the summary knows nothing.
    put("breakers:watch", {"snapshot": False, "breakers": [breaker(SERVICE, "unknown", 0)], "removed": []})
    expect(page.locator("article")).to_have_attribute("data-state", "unknown")
    expect(page.locator(".not-saved")).to_have_count(1)


with browser() as watched:
    summary = breaker(SERVICE, "closed")
    serve(summary)
    detail(summary, [in_proxy("edge-1", "closed")])
    page = watched.page(f"#/service/{SERVICE}")
    needs(page)
    lasts(page)
    fails(page)
    unsaved(page)
