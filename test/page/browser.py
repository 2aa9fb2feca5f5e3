"""What the stories share: a browser that nothing is let pass in, and Breakwater's own words.

A story that sees an error in the console, a violation of the Content-Security-Policy, or a request to
another origin fails at its end, whatever it is about.
"""

import contextlib
import json
import os
import subprocess
import sys
import traceback
import urllib.error
import urllib.request

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

URL = os.environ["PAGE"]
SCREENSHOTS = os.environ["SCREENSHOTS"]

# On a busy machine everything may take long; what must be quick is measured, not timed out.
expect.set_options(timeout=30_000)

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 740}


def said(kind, error, trace):
    """said is what a story that fails says: where, and what was there, without the whole page."""
    frames = [f for f in traceback.extract_tb(trace) if os.path.dirname(f.filename) == os.path.dirname(__file__)]
    print("".join(traceback.format_list(frames)), file=sys.stderr)
    print(f"{kind.__name__}: {str(error).partition('Aria snapshot:')[0]}", file=sys.stderr)


sys.excepthook = said


class Watched:
    """Watched opens pages and remembers what must not happen in them."""

    def __init__(self, browser: Browser):
        self.browser = browser
        self.wrong: list[str] = []
        # While Breakwater is stopped on purpose, a browser says that requests to it fail.
        self.outage = False

    def context(self, **options) -> BrowserContext:
        context = self.browser.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(30_000)
        context.on("page", self._watch)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP violation: ' + e.violatedDirective + ' ' + e.blockedURI))"
        )
        return context

    def page(self, path: str = "#/", **options) -> Page:
        page = self.context(**options).new_page()
        page.goto(f"{URL}/{path}")
        expect(page.locator(".live")).to_have_attribute("data-phase", "live")
        return page

    def _watch(self, page: Page):
        def console(message):
            if message.type not in ("error", "warning"):
                return
            if self.outage and "net::" in message.text:
                return
            self.wrong.append(f"console: {message.text}")

        def request(r):
            if not r.url.startswith((URL, "data:", "blob:")):
                self.wrong.append(f"request to another origin: {r.url}")

        page.on("console", console)
        page.on("pageerror", lambda e: self.wrong.append(f"uncaught: {e}"))
        page.on("request", request)


@contextlib.contextmanager
def browser():
    with sync_playwright() as playwright:
        # Without its sandbox, for root has none; it sees this test's page only.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        if names := os.environ.get("RESOLVE"):
            args.append(f"--host-resolver-rules=MAP {names} 127.0.0.1")
        launched = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=args)
        watched = Watched(launched)
        yield watched
        launched.close()
        if watched.wrong:
            sys.exit("\n".join(watched.wrong))


def do(what: str):
    """do has Go do something to Breakwater."""
    print(f"do {what}", flush=True)
    if sys.stdin.readline() != "done\n":
        sys.exit(f"{what}: not done")


def breakwater(*args: str) -> str:
    """breakwater runs a command, as an operator at a terminal would."""
    ran = subprocess.run(["breakwater", *args], capture_output=True, text=True, timeout=60)
    if ran.returncode != 0:
        sys.exit(f"breakwater {' '.join(args)}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def api(path: str):
    with urllib.request.urlopen(f"{URL}{path}", timeout=30) as answer:
        return json.load(answer)


def gateway(path: str) -> int:
    """gateway sends one request through Envoy and returns the status."""
    request = urllib.request.Request(f"http://{os.environ['BREAKWATER_GATEWAY']}{path}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def row(page: Page, service: str):
    return page.locator(f".row[data-service='{service}']")


def shot(page: Page, name: str, **options):
    page.screenshot(path=os.path.join(SCREENSHOTS, f"{name}.png"), **options)
