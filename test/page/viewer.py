"""The page of an address that only shows has no actions."""

from browser import browser, do, expect

with browser() as watched:
    page = watched.page("#/")
    expect(page.locator(".viewer")).to_have_text("Viewer")
    page.locator(".row a").first.click()
    expect(page.locator("article h1")).to_be_visible()
    expect(page.locator(".card-policy .policy").first).to_be_visible()
    for verb in ("Reset", "Force open", "Disable", "Release"):
        expect(page.get_by_role("button", name=verb)).to_have_count(0)
    page.goto(page.url.split("#")[0] + "#/config")
    expect(page.locator("[data-config='ok']")).to_be_visible()
    do("lose a proxy")
    expect(page.locator("[data-disconnected='edge-9']")).to_be_visible()
    expect(page.get_by_role("button", name="Forget")).to_have_count(0)
