"""A caller with requests: python3 requests_client.py GATEWAY PATH [METHOD]"""

import json
import sys

import requests

from gateway import Failed, Unavailable, check

# Above the policy's timeout.request: it is for the case that the gateway itself is gone.
TIMEOUT = 35
# What this caller works with while the service can not be asked.
OWN_FALLBACK = {"price": None, "note": "ask us"}


def ask(session, url, method="GET"):
    """Return what is known, and where from. No retries here: the gateway has done them."""
    try:
        value, substitute = check(session.request(method, url, timeout=TIMEOUT))
    except Unavailable as e:
        return {"kind": e.kind, "retry_after": e.retry_after, "attempts": e.attempts,
                "may_repeat": e.may_repeat(method), "source": "caller", "value": OWN_FALLBACK}
    except Failed as e:
        return {"kind": e.kind, "status": e.status, "error": e.error, "source": "none"}
    if substitute:
        return {"kind": "fallback", "source": "policy", "value": value}
    return {"kind": "ok", "source": "service", "value": value}


if __name__ == "__main__":
    with requests.Session() as http:
        print(json.dumps(ask(http, sys.argv[1] + sys.argv[2], *sys.argv[3:])))
