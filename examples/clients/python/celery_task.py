"""A Celery task that waits for a circuit to close: python3 celery_task.py GATEWAY PATH [METHOD]

Run like this the task is done at once in this process, without a broker and without waiting.
With a worker: celery -A celery_task worker
"""

import json
import os
import sys

import requests
from celery import Celery

from gateway import Failed, Unavailable, check

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))

# Above the policy's timeout.request: it is for the case that the gateway itself is gone.
TIMEOUT = 35
# What an order gets whose price can not be found out.
OWN_FALLBACK = {"price": None, "note": "ask us"}


@app.task(bind=True, max_retries=2)
def ask(self, url, method="GET"):
    """Ask the service; put the task off while its circuit is open, and then do without it."""
    try:
        value, substitute = check(requests.request(method, url, timeout=TIMEOUT))
    except Unavailable as e:
        # Not sooner than the gateway says: the worker is free meanwhile.
        if e.may_repeat(method) and self.request.retries < self.max_retries:
            raise self.retry(exc=e, countdown=e.retry_after)
        return {"kind": e.kind, "retry_after": e.retry_after, "attempts": e.attempts,
                "may_repeat": e.may_repeat(method), "source": "caller", "value": OWN_FALLBACK,
                "tries": self.request.retries + 1}
    except Failed as e:
        # The gateway has retried what may be done twice. More here would multiply the load.
        return {"kind": e.kind, "status": e.status, "error": e.error, "source": "none"}
    if substitute:
        return {"kind": "fallback", "source": "policy", "value": value}
    return {"kind": "ok", "source": "service", "value": value}


if __name__ == "__main__":
    app.conf.task_always_eager = True
    print(json.dumps(ask.delay(sys.argv[1] + sys.argv[2], *sys.argv[3:]).get()))
