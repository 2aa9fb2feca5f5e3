"""What the stories with made-up answers share: the answers, and how boxes stand to each other."""

import datetime
import json
import urllib.request

from browser import URL, Page

WIDTHS = (390, 768, 1280)
# LONG is a name without a place to break it, as long as one may be; SHORT and HOST are some that are not to be broken.
LONG = "n" * 253
SHORT = "edge-1"
HOST = "127.0.0.1:8005"
ERROR = "Get http://127.0.0.1:9901/clusters: dial tcp 127.0.0.1:9901: connect: connection refused"


def at(seconds: float) -> str:
    """at is a time so many seconds from now, in the past if negative."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def put(path: str, answer) -> None:
    """put has the page answered so at path; None: not at all."""
    body = b"" if answer is None else json.dumps(answer).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{URL}/fake/api/v1/{path}", body, method="PUT"), timeout=30):
        pass


def posted(path: str):
    """posted is what the page posted last to path."""
    with urllib.request.urlopen(f"{URL}/fake/api/v1/{path}", timeout=30) as answer:
        return json.load(answer)


def breaker(service: str, state: str, proxies: int = 1, inside: int | None = None, **overview):
    """breaker is a summary; inside: the proxies that are in the state, all by default."""
    inside = proxies if inside is None else inside
    whole = {
        "cause": "", "since": at(-90), "until": None, "proxies": proxies, "proxies_in_state": inside, "ejected_hosts": 0,
        "total_hosts": 1, "attempts": "0", "failures": "0", "shadow": False, "shadow_state": "", "order": None,
        "overloaded": False, **overview,
    }  # fmt: skip
    summary = f"{state} on {inside} of {proxies} {'proxy' if proxies == 1 else 'proxies'}"
    return {"service": service, "state": state, "summary": summary, "proxies": [], "overview": whole}


def order(state: str, **more):
    return {"state": state, "actor": "ann", "reason": "drill", "until": None, **more}


def watch(*breakers):
    put("breakers:watch", {"snapshot": True, "breakers": breakers, "removed": []})


def config(**more):
    put("config", {
        "ok": True, "digest": "d1", "last_success": at(-60), "last_attempt": at(-60), "services": 3, "problems": [],
        "rejections": [], "stale_services": [], **more,
    })  # fmt: skip


def proxy(name: str, **more):
    return {
        "id": name, "node_cluster": "edge", "version": "1.39.0", "address": HOST, "admin_address": "127.0.0.1:9901",
        "connected_since": at(-3600), "admin_reachable": True, "admin_error": "", "last_load_report": at(-1), **more,
    }  # fmt: skip


def problem(message: str, **more):
    return {
        "severity": "error", "position": {"file": "fraud.yaml", "line": 3, "column": 5}, "service": "fraud-service",
        "path": "breaker.timeout", "message": message, "rule": "", "excerpt": [{"line": 3, "text": "  timeout: " + "9" * 120}], **more,
    }  # fmt: skip


def serve(*breakers):
    """serve answers all that every view asks for, with nothing wrong."""
    watch(*breakers)
    config()
    put("version", {"version": "devel", "started": at(-3600), "read_only": False})
    put("proxies", {"proxies": [proxy(SHORT)], "missed": []})
    put("history", {"since": at(-3600), "start": at(-900), "end": at(0), "step": "10s", "proxies": [], "services": []})
    put("events", {"events": []})
    put("orders", {"orders": []})


def detail(summary, proxies, findings=(), settings=()):
    """detail answers all that the view of one service asks for."""
    path = f"breakers/{summary['service']}"
    put(path, {"breaker": {**summary, "proxies": proxies}, "windows": []})
    put(f"{path}/traffic", {"service": summary["service"], "time": at(0), "proxies": []})
    explained = {"breaker": {**summary, "proxies": proxies}, "findings": findings, "counts": [], "settings": settings}
    put(f"{path}/explain", explained)


def in_proxy(name: str, state: str, hosts=(), **more):
    """in_proxy is a service's breaker in one proxy."""
    return {
        "proxy": name, "state": state, "cause": "", "since": at(-90), "until": None, "hosts": hosts, "ejected_hosts": 0,
        "total_hosts": len(hosts), "requests": "0", "errors": "0", "recent_errors": "0", "overloaded": False, "attempts": "0",
        "failures": "0", "recent_attempts": "0", "successes": "0", "shadow": False, "shadow_state": "", "order": None, **more,
    }  # fmt: skip


# WRONG returns what is drawn where it cannot be read: text beside its box, boxes over each other, and what is wider than
# the window. Code may scroll; who only listens has texts that are not drawn.
WRONG = """(root) => {
  const wrong = [];
  const name = (e) => `${e.tagName.toLowerCase()}.${e.className.baseVal ?? e.className} "${e.textContent.slice(0, 40)}"`;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.push(`the page is ${wide} px too wide`);
  const texts = [];
  const walk = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode;
    const at = text.parentElement;
    if (!text.data.trim() || !at.checkVisibility() || at.closest("pre, textarea, select, option, svg, summary, kbd")) continue;
    let heard = false; // and not seen
    for (let e = at; e; e = e.parentElement) heard ||= getComputedStyle(e).clipPath === "inset(50%)";
    if (heard) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const r of range.getClientRects()) {
      if (r.width < 1 || r.height < 1) continue;
      let box = {left: r.left, right: r.right, top: r.top, bottom: r.bottom};
      for (let e = at; e; e = e.parentElement) {
        const style = getComputedStyle(e);
        if (style.overflowX === "visible" || e === document.body || e === document.documentElement) continue;
        const b = e.getBoundingClientRect();
        // What ends in an ellipsis has its whole text in a title.
        if (style.textOverflow === "ellipsis" && !e.title && e.scrollWidth > e.clientWidth + 1) wrong.push(`${name(e)} is shortened, and nowhere whole`);
        const scrolls = style.overflowY === "auto" || style.overflowY === "scroll";
        if (style.textOverflow !== "ellipsis" && (box.right > b.right + 1 || box.left < b.left - 1 || (!scrolls && box.bottom > b.bottom + 2))) wrong.push(`${name(at)} is cut by ${name(e)}`);
        box = {left: Math.max(box.left, b.left), right: Math.min(box.right, b.right), top: Math.max(box.top, b.top), bottom: Math.min(box.bottom, b.bottom)};
      }
      if (box.right > innerWidth + 1 || box.left < -1) wrong.push(`${name(at)} is beside the window`);
      if (box.right - box.left > 1 && box.bottom - box.top > 1) texts.push({at, text, box});
    }
  }
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5;
  for (const [i, a] of texts.entries())
    for (const b of texts.slice(i + 1))
      if (a.text !== b.text && over(a.box, b.box)) wrong.push(`${name(a.at)} is over ${name(b.at)}`);
  // A pill is over no other text.
  for (const pill of document.querySelectorAll(`${root} .state`))
    for (const {at, box} of texts)
      if (!pill.contains(at) && over(pill.getBoundingClientRect(), box)) wrong.push(`${name(pill)} is over ${name(at)}`);
  return [...new Set(wrong)];
}"""


def readable(page: Page, where: str, root: str = "main"):
    """readable fails if anything is drawn where it cannot be read."""
    wrong = page.evaluate(WRONG, root)
    assert not wrong, f"{where}: " + "\n".join(wrong)


def whole(page: Page, where: str, root: str):
    """whole fails if a name that is short enough for its line is broken."""
    broken = page.evaluate(
        """([root, names]) => {
          const broken = [];
          const walk = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) for (const name of names) {
            const at = walk.currentNode.data.indexOf(name);
            if (at < 0) continue;
            const range = document.createRange();
            range.setStart(walk.currentNode, at);
            range.setEnd(walk.currentNode, at + name.length);
            if (new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size > 1) broken.push(walk.currentNode.data);
          }
          return broken;
        }""",
        [root, [SHORT, HOST]],
    )
    assert not broken, f"{where}: broken over lines: {broken}"
