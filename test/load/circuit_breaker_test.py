"""Load on the shop example while two of its services fail and recover, for locust.

    make run                      # in another terminal
    locust -f test/load/circuit_breaker_test.py --host=http://localhost:8080

With --headless it ends by itself, and the exit code is 1 if callers saw anything but what they should:

    healthy     everybody is answered by the services
    breaking    pricing and fraud begin to fail: a few errors, until their breakers open
    failing     pricing's callers get 503 at once with x-circuit-breaker: open, fraud's get the policy's
                fallback, nothing has reached the two services since their breakers opened, and search
                notices nothing
    healing     the services are well again, and the breakers close: reset, or on their own
    recovered   as in healthy

It is for one process of locust, not for a distributed run: the phases are counted here.
"""

import collections
import os
import statistics
import time

import gevent
import requests
from locust import HttpUser, LoadTestShape, between, events, task

PATHS = {
    "pricing-service": "/api/v1/pricing/tea-042",
    "fraud-service": "/api/v1/fraud/score",
    "search-service": "/api/v1/search?q=tea",
}
FAILING = ["pricing-service", "fraud-service"]
# What callers of a service get while its breaker is open.
WHILE_OPEN = {"pricing-service": "open", "fraud-service": "fallback"}
# The shortest timeout of the two breakers, after which probes are let through, in seconds. The phase failing has to be
# over by then, counted from the trip: that callers get nothing but the gateway's reply, and nothing reaches the
# services, holds until then.
SHORTEST_OPEN = 30
# Seconds. A reply that the gateway makes itself takes well below a millisecond; the rest is locust, on a busy
# machine, where it may take as long as replies of a healthy service do.
FAST = 0.1
# Seconds that a breaker may take to open, or to close after a reset.
SETTLE = 10
# Breakwater knows a state a few milliseconds before Envoy has it.
PUSH = 0.2


@events.init_command_line_parser.add_listener
def options(parser):
    group = parser.add_argument_group("circuit breakers")
    group.add_argument("--breakwater", default="http://" + os.environ.get("BREAKWATER_HTTP", "127.0.0.1:8081"),
                       help="Breakwater's HTTP API")
    group.add_argument("--ctl", default="http://" + os.environ.get("BREAKWATER_CTL", "127.0.0.1:8000"),
                       help="control of the demo services")
    group.add_argument("--crowd", type=int, default=20, help="users")
    group.add_argument("--phase", type=float, default=10, help="seconds of each of healthy, failing and recovered")
    group.add_argument("--recover-by", choices=["reset", "waiting"], default="reset",
                       help="whether the breakers are reset, or close on their own")


class Scenario:
    """Leads through the phases, and keeps what was seen in each."""

    def __init__(self):
        self.phase = "start"
        self.kinds = collections.defaultdict(collections.Counter)  # by phase and service
        self.seconds = collections.defaultdict(list)  # by phase, service and kind
        self.reached = {}  # requests that reached a service from its trip to the end of the phase failing
        self.problems = []
        self.done = False

    def saw(self, phase, service, kind, seconds):
        # A request that a change of phase has overtaken belongs to none.
        if phase == self.phase:
            self.kinds[phase, service][kind] += 1
            self.seconds[phase, service, kind].append(seconds)

    def lead(self, options):
        try:
            self.phases(options)
        except Exception as e:  # whatever goes wrong is a finding, not a hang
            self.problems.append(f"the run could not go on in the phase {self.phase}: {e}")
        finally:
            for service in FAILING:
                behave(options, service, fail=0)
            self.done = True

    def phases(self, options):
        for service in PATHS:
            behave(options, service, fail=0)
            reset(options, service)
        self.enter("healthy", options.phase)
        self.phase = "breaking"
        began = time.monotonic()
        for service in FAILING:
            behave(options, service, fail=100)
        at_trip = {}
        until(options, "open", SETTLE, lambda service: at_trip.setdefault(service, counts(options)[service]))
        left = began + SHORTEST_OPEN - time.monotonic()
        if options.phase > left:
            raise ValueError(f"--phase is {options.phase} s, and the first breaker lets probes through in {left:.1f} s: give less")
        self.enter("failing", options.phase)
        after = counts(options)
        self.reached = {s: after[s] - at_trip[s] for s in FAILING}
        self.phase = "healing"
        for service in FAILING:
            behave(options, service, fail=0)
            if options.recover_by == "reset":
                reset(options, service)
        until(options, "closed", SETTLE if options.recover_by == "reset" else 3 * 60)
        self.enter("recovered", options.phase)
        self.phase = "end"

    def enter(self, phase, seconds):
        self.phase = phase
        gevent.sleep(seconds)

    def judge(self, options):
        """Compare what was seen with what should have been."""
        for phase in ["healthy", "recovered"]:
            for service in PATHS:
                self.only(phase, service, "ok")
        for service in FAILING:
            self.only("failing", service, WHILE_OPEN[service])
            self.fast("failing", service, WHILE_OPEN[service])
            self.at_most("breaking", service, "error", 5 + options.crowd)
            if self.reached.get(service, 0):
                self.problems.append(f"{self.reached[service]} requests reached {service} while its breaker was open")
        for phase in ["breaking", "failing", "healing"]:
            self.none_but(phase, "search-service", "ok")

    def only(self, phase, service, kind):
        if not self.kinds[phase, service][kind]:
            self.problems.append(f"{phase}: no request to {service} was answered {kind}")
        self.none_but(phase, service, kind)

    def none_but(self, phase, service, kind):
        others = {k: n for k, n in self.kinds[phase, service].items() if k != kind}
        if others:
            self.problems.append(f"{phase}: requests to {service} were answered {others}, want {kind} alone")

    def at_most(self, phase, service, kind, bound):
        n = self.kinds[phase, service][kind]
        if n > bound:
            self.problems.append(f"{phase}: {n} requests to {service} were answered {kind}, want at most {bound}")

    def fast(self, phase, service, kind):
        seconds, healthy = self.seconds[phase, service, kind], self.seconds[phase, "search-service", "ok"]
        bound = max([FAST, 2 * statistics.median(healthy)] if healthy else [FAST])
        if seconds and statistics.median(seconds) > bound:
            self.problems.append(f"{phase}: half of {service}'s callers waited over {bound:.3f} s for a reply of the gateway's")

    def report(self):
        for phase in ["healthy", "breaking", "failing", "healing", "recovered"]:
            for service in PATHS:
                seen = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds[phase, service].items()))
                print(f"{phase:10} {service:16} {seen or 'nothing'}")
        for service, n in self.reached.items():
            print(f"{'since trip':10} {service:16} {n} requests reached it")
        for problem in self.problems:
            print("FAILED:", problem)
        if not self.problems:
            print("PASSED")


scenario = Scenario()


def behave(options, service, fail):
    requests.post(f"{options.ctl}/ctl", params={"service": service, "fail": f"{fail}%"}, timeout=10).raise_for_status()


def counts(options):
    """Requests that each demo service has had so far."""
    reply = requests.get(f"{options.ctl}/ctl", timeout=10)
    reply.raise_for_status()
    return {s["service"]: s["requests"] for s in reply.json()["services"]}


def reset(options, service):
    requests.post(f"{options.breakwater}/api/v1/circuit-breakers/{service}/reset", timeout=60).raise_for_status()


def until(options, state, seconds, each=lambda service: None):
    """Wait until the breakers of the failing services are in that state; call each when one is, and Envoy knows."""
    deadline = time.monotonic() + seconds
    waiting = set(FAILING)
    while True:
        reply = requests.get(f"{options.breakwater}/api/v1/circuit-breakers", timeout=10)
        reply.raise_for_status()
        states = {s: reply.json()["circuit_breakers"][s]["state"] for s in FAILING}
        there = {s for s in waiting if states[s] == state}
        if there:
            gevent.sleep(PUSH)
        for service in there:
            each(service)
        waiting -= there
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the breakers are {states} after {seconds} s, want {state}")
        gevent.sleep(0.02)


def kind(reply):
    mark = reply.headers.get("x-circuit-breaker")
    if mark == "open":
        return "open" if reply.status_code == 503 and reply.headers.get("retry-after", "").isdigit() else "bad open"
    if mark:
        return mark
    return "ok" if reply.status_code == 200 else "error"


class Shopper(HttpUser):
    wait_time = between(0.02, 0.2)

    @task
    def shop(self):
        for service, path in PATHS.items():
            phase, start = scenario.phase, time.monotonic()
            with self.client.get(path, name=f"{service} ({phase})", catch_response=True) as reply:
                seen = kind(reply)
                scenario.saw(phase, service, seen, time.monotonic() - start)
                # What was to be expected is judged by phase, at the end.
                reply.success()


class Phases(LoadTestShape):
    """As long as the scenario takes."""

    use_common_options = False
    greenlet = None

    def tick(self):
        options = self.runner.environment.parsed_options
        if self.greenlet is None:
            self.greenlet = gevent.spawn(scenario.lead, options)
        return None if scenario.done else (options.crowd, options.crowd)


@events.quitting.add_listener
def verdict(environment, **_):
    scenario.judge(environment.parsed_options)
    scenario.report()
    environment.process_exit_code = 1 if scenario.problems else 0
