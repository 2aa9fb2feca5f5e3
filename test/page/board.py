"""The board: trouble first, what is wanted and what waits after it, and never more said than is known."""

import re

import fake
from browser import browser, expect, row, shot
from fake import at, breaker, config, order, readable, serve, watch

FLEET = [
    breaker("a-closed", "closed"),
    breaker("b-disabled", "disabled", order=order("disabled"), until=at(600), cause="disabled by ann: drill"),
    breaker("c-forced", "forced_open", order=order("forced_open"), until=at(600), cause="forced open by ann: drill"),
    breaker("d-unknown", "unknown", cause="the proxy does not have this service (yet)"),
    breaker("e-waiting", "half_open", since=at(-1300), cause="it has been open for 30s", waiting=True),
    breaker("f-probing", "half_open", since=at(-1300), cause="it has been open for 30s"),
    breaker("g-expired", "open", until=at(-40), cause="5 of the last 37 attempts failed"),
    breaker("h-part", "open", 3, 1, until=at(25), cause="5 of the last 37 attempts failed", ejected_hosts=1),
    breaker("i-whole", "open", 3, until=at(25), cause="5 of the last 37 attempts failed", ejected_hosts=1),
    breaker("j-two-of-three", "closed", ejected_hosts=1, total_hosts=3),
]


def names(page):
    return page.locator(".row").evaluate_all(
        "(rows) => rows.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map((r) => r.dataset.service)"
    )


def ranks(page):
    """What nobody planned comes first; what is wanted after it; a half-open breaker without traffic is no trouble."""
    expect(page.locator(".row")).to_have_count(len(FLEET))
    wanted = "h-part i-whole g-expired f-probing d-unknown c-forced b-disabled j-two-of-three e-waiting a-closed".split()
    assert names(page) == wanted, names(page)
    expect(row(page, "e-waiting").locator(".state")).to_have_attribute("data-look", "none")
    expect(row(page, "e-waiting").locator(".state")).to_have_text("Half-open, waiting")
    expect(row(page, "e-waiting")).to_have_attribute("data-state", "half_open")
    expect(row(page, "f-probing").locator(".state")).to_have_attribute("data-look", "half_open")
    expect(row(page, "f-probing").locator(".state")).to_have_text("Half-open")
    expect(page).to_have_title("3 open · Breakwater")


def runs_out(page):
    """What was awaited is said in one line when its time is over, and moves nothing."""
    time = row(page, "g-expired").locator(".cell-time")
    expect(time).to_have_text(re.compile(r"^probing nextfor 1 min \d+ s$"))
    expect(row(page, "h-part").locator(".cell-time")).to_have_text(re.compile(r"^\d+ s leftfor 1 min \d+ s$"))
    tops = page.evaluate(
        """(services) => services.flatMap((s) => ["state", "name", "time"].map((cell) => {
          const row = document.querySelector(`.row[data-service="${s}"]`);
          const [a, b] = [row.getBoundingClientRect(), row.querySelector(".cell-" + cell).getBoundingClientRect()];
          return [s, cell, Math.round(b.top - a.top), Math.round(b.height)].join(" ");
        }))""",
        ["g-expired", "h-part"],
    )
    assert [t.split(" ", 1)[1] for t in tops[:3]] == [t.split(" ", 1)[1] for t in tops[3:]], tops


def shares(page):
    """One of three proxies does not look like all three."""
    part, whole = row(page, "h-part"), row(page, "i-whole")
    expect(part.locator(".state")).to_have_attribute("data-part", "true")
    expect(whole.locator(".state")).not_to_have_attribute("data-part", "true")
    ground = "(e) => getComputedStyle(e).backgroundColor"
    assert part.locator(".state").evaluate(ground) != whole.locator(".state").evaluate(ground)
    for one, share, bad in (part, 1 / 3, 0), (whole, 1, 1):
        expect(one.locator(".cell-hosts")).to_have_text("0 of 1 at worst")
        expect(one.locator(".cell-hosts .bad")).to_have_count(bad)
        expect(one.locator(".cell-hosts .warn")).to_have_count(1 - bad)
        expect(one.locator(".cell-proxies")).to_have_text(f"open on {3 * share:.0f} of 3")
        bar = one.locator(".share").evaluate("(e) => e.firstElementChild.getBoundingClientRect().width / e.getBoundingClientRect().width")
        assert abs(bar - share) < 0.02, f"the bar is {bar} long"
    expect(row(page, "j-two-of-three").locator(".cell-hosts")).to_have_text("2 of 3 in")
    expect(row(page, "j-two-of-three").locator(".cell-hosts .warn")).to_have_count(1)
    expect(row(page, "a-closed").locator(".share")).to_have_count(0)


def chips(page):
    return page.locator(".chip").evaluate_all("(all) => all.map((c) => [c.textContent.trim(), c.dataset.look].join('|'))")


def goes(page, width):
    """Without Breakwater nothing is known: the pill keeps to its cell, and the buttons count nothing else."""
    assert chips(page) == ["3 open|open", "2 half-open|half_open", "1 unknown|unknown", "1 forced open|forced_open", "1 disabled|disabled", "2 closed|closed"], chips(page)
    fake.put("breakers:watch", None)
    watched.outage = True
    expect(page.locator(".live")).to_have_attribute("data-phase", "stale")
    expect(row(page, "e-waiting").locator(".cell-state")).to_have_text("Unknownwas half-open")
    expect(row(page, "c-forced").locator(".cell-state")).to_have_text("Unknownwas forced open")
    assert chips(page) == ["0 open|none", "10 unknown|unknown", "0 closed|none"], chips(page)
    expect(page).to_have_title("Breakwater")
    readable(page, f"stale at {width}")
    shot(page, f"stale-{width}")
    # What is filtered by is what is shown.
    page.locator(".chip", has_text="unknown").click()
    expect(page.locator(".row")).to_have_count(len(FLEET))
    page.locator(".chip", has_text="unknown").click()
    watch(*FLEET)
    expect(page.locator(".live")).to_have_attribute("data-phase", "live")


with browser() as watched:
    serve(*FLEET)
    config()
    page = watched.page(viewport={"width": 1280, "height": 800})
    ranks(page)
    runs_out(page)
    shares(page)
    for scheme in "light", "dark":
        for width in fake.WIDTHS:
            page = watched.page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            expect(page.locator(".row")).to_have_count(len(FLEET))
            readable(page, f"{scheme} at {width}")
            shot(page, f"board-{scheme}-{width}")
            if scheme == "light":
                goes(page, width)
            page.context.close()
