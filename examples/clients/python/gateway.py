"""Tells what a reply that came through the gateway means. Works with requests and httpx alike.

The gateway marks what it answered itself with the header x-circuit-breaker:

    open        the circuit of the service is open: nothing was sent to it
    fallback    the same, and the policy has a reply for callers
    overloaded  a limit of the service is reached: it may work again in a second

Its other errors (a timeout, no connection, ...) have no such header, and the field "error" in their JSON.
"""

# The gateway's own errors beside an open circuit and an overload.
GATEWAY_ERRORS = {"upstream_timeout", "connect_failure", "upstream_reset", "no_route", "gateway_error"}


class Unavailable(Exception):
    """Nothing was sent to the service. It is safe to ask again, whatever the method was."""

    def __init__(self, kind, retry_after):
        super().__init__(f"{kind}, retry after {retry_after} s")
        self.kind = kind
        self.retry_after = retry_after  # seconds


class CircuitOpen(Unavailable):
    """The circuit of the service is open: do without it, until retry_after is over."""

    def __init__(self, retry_after):
        super().__init__("open", retry_after)


class Overloaded(Unavailable):
    """A limit of the service is reached: slow down, and ask again soon."""

    def __init__(self, retry_after):
        super().__init__("overloaded", retry_after)


class Failed(Exception):
    """The service, or the way to it, failed. It may have acted: only repeat what may be done twice."""

    def __init__(self, kind, status, error):
        super().__init__(f"{kind}: {status} {error}")
        self.kind = kind  # "gateway_error" or "service_error"
        self.status = status
        self.error = error


def check(reply):
    """Return the reply's JSON and whether it is the policy's fallback, or raise what went wrong."""
    mark = reply.headers.get("x-circuit-breaker")
    if mark == "open":
        raise CircuitOpen(_seconds(reply, 60))
    if mark == "overloaded":
        raise Overloaded(_seconds(reply, 1))
    if mark == "fallback":
        return _json(reply), True
    if reply.status_code >= 400:
        body = _json(reply)
        error = body.get("error", "") if isinstance(body, dict) else ""
        kind = "gateway_error" if error in GATEWAY_ERRORS else "service_error"
        raise Failed(kind, reply.status_code, error)
    return _json(reply), False


def _json(reply):
    try:
        return reply.json()
    except ValueError:
        return None


def _seconds(reply, otherwise):
    try:
        return max(1, int(reply.headers.get("retry-after", "")))
    except ValueError:
        return otherwise
