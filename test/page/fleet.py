"""A thousand services that all change each second: only what is seen is drawn, and the page stays smooth."""

import re
import time

from browser import DESKTOP, PHONE, browser, do, expect, shot

# work scrolls through the board and searches it for some seconds, and measures what that costs: the share of the time
# that is taken by tasks of more than 50 ms, in which nothing can be drawn, and the frames that were drawn.
WORK = """async (seconds) => {
  const frame = () => new Promise(requestAnimationFrame);
  let long = 0, frames = 0;
  const watch = new PerformanceObserver((list) => { for (const e of list.getEntries()) long += e.duration; });
  watch.observe({type: "longtask"});
  const begun = performance.now();
  while (performance.now() - begun < seconds * 1000) {
    scrollBy(0, 60);
    if (scrollY + innerHeight >= document.body.scrollHeight - 10) scrollTo(0, 0);
    await frame();
    frames++;
  }
  const took = performance.now() - begun;
  watch.disconnect();
  return {share: long / took, frames: frames / (took / 1000), rows: document.querySelectorAll(".row").length};
}"""

# touched counts the rows that were changed by a message, apart from the clocks that all of them have.
TOUCHED = """async (seconds) => {
  const touched = new Set();
  const watch = new MutationObserver((all) => {
    for (const m of all) {
      const el = m.target instanceof Element ? m.target : m.target.parentElement;
      if (!el?.closest(".cell-time, .cell-rate, .cell-errors")) touched.add(el?.closest(".row")?.dataset.service ?? "list");
    }
  });
  watch.observe(document.querySelector(".list"), {subtree: true, childList: true, characterData: true, attributes: true});
  await new Promise((done) => setTimeout(done, seconds * 1000));
  watch.disconnect();
  return [...touched];
}"""

with browser() as watched:
    page = watched.page()
    expect(page.locator(".board")).to_have_attribute("aria-rowcount", "1001")
    expect(page.locator(".rate").filter(has_text="/s").first).to_be_visible()
    small = page.locator(".row .sparkline")
    expect(small.first).to_have_attribute("aria-label", re.compile(r"^in 15 min [1-9][0-9,]* attempts, [1-9]\d* failed$"))
    shot(page, "fleet")
    best = None
    # A busy machine can spoil a run, not all of them.
    for _ in range(12):
        got = page.evaluate(WORK, 3)
        print(f"long tasks take {got['share']:.1%} of the time, {got['frames']:.0f} frames a second, {got['rows']} rows in the document")
        assert got["rows"] < 80, "rows that nobody sees are in the document"
        if best is None or got["share"] < best["share"]:
            best = got
        if best["share"] < 0.3:
            break
    assert best["share"] < 0.3, f"long tasks take {best['share']:.1%} of the time"

    page.get_by_role("searchbox").fill("service-0777")
    expect(page.locator(".row")).to_have_count(1)
    expect(small).to_have_attribute("aria-label", re.compile(r"^in 15 min [1-9]"))
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="open", exact=False).first.click()
    expect(page.locator(".row:not([data-state='open'])")).to_have_count(0)
    # A part of the proxies is not taken for all of them where there is no room for their column.
    page.set_viewport_size(PHONE)
    expect(page.locator(".row[data-state='open'] .mark-part").first).to_have_text("on 2 of 12")
    expect(page.locator(".row[data-state='open'] .mark-part").first).to_be_visible()
    page.set_viewport_size(DESKTOP)
    page.get_by_role("button", name="open", exact=False).first.click()

    page.evaluate("scrollTo(0, 0)")
    page.get_by_label("Sort").select_option("name")
    expect(page.locator(".row").first).to_have_attribute("data-service", "service-0000")
    # From row to row with the keyboard, beyond what was drawn, and back to where one was.
    page.locator("[data-row='0']").focus()
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    expect(page.locator("[data-row='40']")).to_be_focused()
    scrolled = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("service-0040")
    page.go_back()
    expect(page.locator("[data-row='40']")).to_be_visible()
    assert abs(page.evaluate("scrollY") - scrolled) < 5

    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("[data-row='0']")).to_be_visible()
    do("quiet")
    deadline = time.monotonic() + 30
    while (touched := page.evaluate(TOUCHED, 2.5)) not in ([], ["service-0000"]):
        assert time.monotonic() < deadline, f"a change of one service draws {touched}"
    # The service view asks for what this fleet does not answer.
    watched.wrong = [w for w in watched.wrong if "404" not in w]
