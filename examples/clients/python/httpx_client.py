"""An asynchronous caller with httpx: python3 httpx_client.py GATEWAY PATH [METHOD]"""

import asyncio
import json
import sys

import httpx

from gateway import Failed, Unavailable, check

# Above the policy's timeout.request: it is for the case that the gateway itself is gone.
TIMEOUT = 35
# What this caller works with while the service can not be asked.
OWN_FALLBACK = {"price": None, "note": "ask us"}


async def ask(client, path, method="GET"):
    """Return what is known, and where from. No retries here: the gateway has done them."""
    try:
        value, substitute = check(await client.request(method, path))
    except Unavailable as e:
        return {"kind": e.kind, "retry_after": e.retry_after, "attempts": e.attempts,
                "may_repeat": e.may_repeat(method), "source": "caller", "value": OWN_FALLBACK}
    except Failed as e:
        return {"kind": e.kind, "status": e.status, "error": e.error, "source": "none"}
    if substitute:
        return {"kind": "fallback", "source": "policy", "value": value}
    return {"kind": "ok", "source": "service", "value": value}


async def main(gateway, path, method="GET"):
    async with httpx.AsyncClient(base_url=gateway, timeout=TIMEOUT) as client:
        print(json.dumps(await ask(client, path, method)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
