"""The page behind a proxy that ends TLS: it loads, follows, and gives orders."""

from browser import breakwater, browser, expect, row

CHATBOT = "chatbot-service"

with browser() as watched:
    board = watched.page("#/", ignore_https_errors=True)
    view = watched.page(f"#/service/{CHATBOT}", ignore_https_errors=True)
    assert board.evaluate("isSecureContext && performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    expect(row(board, CHATBOT)).to_have_attribute("data-state", "closed")

    # What happens elsewhere is streamed.
    breakwater("force-open", CHATBOT, "--reason", "elsewhere")
    expect(row(board, CHATBOT)).to_have_attribute("data-state", "forced_open")
    expect(view.locator("article")).to_have_attribute("data-state", "forced_open")

    # An order is taken from the page's own origin, though Breakwater is asked by another.
    view.get_by_role("button", name="Release", exact=True).click()
    dialog = view.get_by_role("dialog")
    dialog.get_by_role("button", name="Release").click()
    expect(dialog.locator(".proof")).to_have_attribute("data-ok", "true")
    expect(dialog.locator(".proof tbody tr")).to_have_count(2)
    expect(row(board, CHATBOT)).to_have_attribute("data-state", "closed")
