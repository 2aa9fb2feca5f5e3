"""Whatever is long, and however narrow the window: nothing is cut, broken without need, or over something else."""

from browser import browser, expect, shot
from fake import ERROR, HOST, LONG, SHORT, WIDTHS, at, breaker, config, detail, in_proxy, order, problem, proxy, put, readable, serve, whole

MODEST = "gateway-eu-central-1-7f9c4"
SICK = {"address": HOST, "ejected": True, "unhealthy": True, "requests": "1234567", "errors": "1234567"}
LONG_HOST = {**SICK, "address": "a" * 200 + ".example:8005"}
SETTINGS = [
    {"path": "breaker.half_open.max_requests", "from": "2", "to": "3", "position": {"file": "payments-and-invoices.yaml", "line": 114, "column": 12}},
    {"path": "routes[0].headers", "from": "", "to": LONG, "position": {"file": LONG + ".yaml", "line": 1, "column": 1}},
]
PLAN = {
    "ok": True, "problems": [problem("must be longer than " + LONG)], "digest": LONG, "resources": [
        {"type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": LONG, "action": "changed", "diff": "+" + LONG},
    ],
    "services": [{
        "service": "fraud-service", "action": "changed", "settings": SETTINGS,
        "effects": [{"severity": "warning", "text": f"replaces the cluster `{LONG}`", "proxies": [SHORT, LONG]}],
    }],
}  # fmt: skip


def board(page, width):
    expect(page.locator(".row")).to_have_count(6)
    readable(page, f"the board at {width}")
    whole(page, f"the board at {width}", ".board")
    shot(page, f"long-board-{width}")


def service(page, width):
    page.goto(page.url.split("#")[0] + "#/service/fraud-service")
    expect(page.locator(".proxy-row")).to_have_count(3)
    expect(page.locator(".findings li")).to_have_count(1)
    readable(page, f"the service at {width}")
    whole(page, f"the service at {width}", ".card-proxies")
    shot(page, f"long-service-{width}", full_page=True)


def configuration(page, width):
    page.goto(page.url.split("#")[0] + "#/config")
    expect(page.get_by_role("region", name="Connected proxies", exact=True).locator("tbody tr")).to_have_count(3)
    page.locator("[name=file]").fill("fraud.yaml")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator(".plan-service tbody tr")).to_have_count(2)
    page.get_by_text("What Envoy would be sent").click()
    readable(page, f"the configuration at {width}")
    whole(page, f"the configuration at {width}", "main")
    tables = page.locator(".scroll").evaluate_all("(all) => all.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.ariaLabel)")
    assert not tables, f"tables that are cut at {width}: {tables}"
    shot(page, f"long-config-{width}", full_page=True)


def events(page, width):
    page.goto(page.url.split("#")[0] + "#/events")
    expect(page.locator(".timeline li")).to_have_count(1)
    readable(page, f"the events at {width}")
    shot(page, f"long-events-{width}")


def dialog(page, width):
    page.goto(page.url.split("#")[0] + "#/service/fraud-service")
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.locator(".proof tbody tr")).to_have_count(2)
    readable(page, f"the proof at {width}", "dialog")
    whole(page, f"the proof at {width}", "dialog")
    cut = page.locator(".proof .scroll").evaluate("(e) => e.scrollWidth > e.clientWidth")
    assert not cut, f"the proof is cut at {width}"
    shot(page, f"long-proof-{width}")
    page.keyboard.press("Escape")


with browser() as watched:
    fraud = breaker("fraud-service", "open", 3, 1, until=at(500), cause="5 of the last 37 attempts failed: " + LONG, total_hosts=2, ejected_hosts=2)
    serve(
        fraud,
        breaker("long-cause", "unknown", cause="the proxy cannot be seen: " + ERROR),
        breaker("b" + LONG[1:], "forced_open", 1000, 999, until=at(36_000), total_hosts=12, order=order("forced_open", actor="x" * 80, reason="long " * 60)),
        breaker("busy", "closed", 1000, shadow=True, shadow_state="forced_open", overloaded=True, ejected_hosts=1000, total_hosts=2000),
        breaker("half", "half_open", 1000, 998, since=at(-4_000_000)),
        breaker("old", "disabled", 12, order=order("disabled"), until=at(3_000_000), since=at(-4_000_000)),
    )
    detail(
        fraud,
        [
            in_proxy(SHORT, "open", [SICK, LONG_HOST], cause="all hosts are ejected", until=at(-30), attempts="12345678", failures="1234567"),
            in_proxy(MODEST, "forced_open", [SICK], cause="forced open by ann: drill", order=order("forced_open"), until=at(40_000)),
            in_proxy(LONG, "unknown", cause=ERROR),
        ],
        [{"proxies": [SHORT, LONG], "what": f"the host `{LONG}` is ejected", "advice": f"ask {LONG}"}],
        [{"path": s["path"], "value": s["to"], "layer": "service", "variable": "", "position": s["position"], "clamped": True} for s in SETTINGS],
    )
    put("proxies", {
        "proxies": [
            proxy(SHORT, faults=["two streams have this node id for 3m: " + LONG]), proxy(MODEST, admin_reachable=False, admin_error=ERROR),
            proxy(LONG, version="1.39.0-dev-" + "f" * 40, address="[2001:db8:1234:5678:9abc:def0:1234:5678]:54321"),
        ],
        "missed": [{"id": SHORT, "node_cluster": LONG, "admin_address": "10.0.0.1:9901", "left": at(-300)}],
    })  # fmt: skip
    config(ok=False, digest=LONG, problems=[problem(LONG)], stale_services=[LONG, "fraud-service"], storage_faults=[{"document": "overrides", "error": ERROR + LONG, "since": at(-100)}])
    put("plan", PLAN)
    event = {"id": "1", "time": at(-5), "kind": "transition", "service": "b" + LONG[1:], "proxy": LONG, "from": "closed", "to": "open",
             "cause": LONG, "actor": "", "shadow": False, "host": "", "until": None}  # fmt: skip
    put("events", {"events": [event]})
    put("events:watch", {"event": event})
    lost = {"acknowledged": False, "ejected_before": [HOST, LONG], "ejected_after": [], "note": "", "error": ERROR, "from": "half_open"}
    put("breakers/fraud-service/reset", {
        "service": "fraud-service", "host": "", "ok": False, "pushed": True, "generation": "1",
        "proxies": [{**lost, "proxy": SHORT}, {**lost, "proxy": LONG}],
    })  # fmt: skip
    for width in WIDTHS:
        page = watched.page(viewport={"width": width, "height": 900})
        for look in board, service, configuration, events, dialog:
            look(page, width)
        page.context.close()
