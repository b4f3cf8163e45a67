"""Is a service up? For docker-compose.yaml's health checks: exit status 0 if so, else 1 and the reason.

    python deploy/health.py http://localhost:5000/health
    python deploy/health.py http://localhost:8080/api/v2/monitor/health scheduler

With a component, Airflow's own verdict on it is asked for: its last heartbeat is recent. Standard library
only, since it runs every few seconds and importing Airflow would take as many.
"""

import json
import sys
import urllib.error
import urllib.request

TIMEOUT = 8  # seconds; below the health checks' own timeout, so that the reason is still printed


def trouble(url: str, component: str | None = None) -> str | None:
    """What is wrong, or None when nothing is."""
    # Past any proxy: the address is on the stack's own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            body = answer.read()
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"
    if component is None:
        return None
    status = json.loads(body)[component]["status"]
    return None if status == "healthy" else f"{component} is {status or 'not there'}"


if __name__ == "__main__":
    reason = trouble(*sys.argv[1:])
    print(reason or "healthy")
    sys.exit(reason is not None)
