"""Tells what a reply that came through the gateway means. Works with requests and httpx alike.

The gateway marks what it answered itself with the header x-circuit-breaker:

    open        the circuit of the service is open
    fallback    the same, and the policy has a reply for callers
    overloaded  a limit of the service is reached: it may work again in a second

Beside it, x-circuit-breaker-attempts says how many attempts at the service were made before. It is 0 where
nothing was sent, but the circuit can also open between the attempts of one request that the gateway retries.

Its other errors (a timeout, no connection, ...) have no such header, and the field "error" in their JSON.
"""

# The gateway's own errors beside an open circuit and an overload.
GATEWAY_ERRORS = {"upstream_timeout", "connect_failure", "upstream_reset", "no_route", "gateway_error"}


# The methods that may be done twice (RFC 9110, 9.2.2).
IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}


class Unavailable(Exception):
    """The gateway refused the request. Whether it is safe to ask again, may_repeat says."""

    def __init__(self, kind, retry_after, attempts):
        super().__init__(f"{kind} after {attempts} attempts, retry after {retry_after} s")
        self.kind = kind
        self.retry_after = retry_after  # seconds
        self.attempts = attempts  # that were made before, and may have reached the service

    def may_repeat(self, method, idempotency_key=None):
        """Say whether to ask again does no harm: the service can not have acted, or may act twice.

        The key is one that the service knows, and by which it does a request once only.
        """
        return self.attempts == 0 or method in IDEMPOTENT or idempotency_key is not None


class CircuitOpen(Unavailable):
    """The circuit of the service is open: do without it, until retry_after is over."""

    def __init__(self, retry_after, attempts):
        super().__init__("open", retry_after, attempts)


class Overloaded(Unavailable):
    """A limit of the service is reached: slow down, and ask again soon."""

    def __init__(self, retry_after, attempts):
        super().__init__("overloaded", retry_after, attempts)


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
        raise CircuitOpen(_seconds(reply, 60), _attempts(reply))
    if mark == "overloaded":
        raise Overloaded(_seconds(reply, 1), _attempts(reply))
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


def _attempts(reply):
    try:
        return int(reply.headers["x-circuit-breaker-attempts"])
    except (KeyError, ValueError):
        return 1  # it is not said: suppose that there was one


def _seconds(reply, otherwise):
    try:
        return max(1, int(reply.headers.get("retry-after", "")))
    except ValueError:
        return otherwise
