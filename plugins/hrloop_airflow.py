"""The Airflow plugin: one page, Browse > HR loop, that says where the loop stands.

The page is an app of its own under ``/hr``; Airflow does not put its login before such apps, so it asks for
Airflow's user itself. It only reads, and shows no data about persons. Where the setting ``approval_webhook``
is on, the endpoint of hrloop_webhook stands beside it.
"""

import json
from html import escape

import hrloop_webhook
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from hrloop import settings

app = FastAPI(dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)

STEPS = (
    "ingest",
    "gate",
    "warehouse",
    "decisions",
    "milestones",
    "daily_calibration",
    "weekly_retraining",
    "monthly_reweighting",
    "quarterly_champion_challenger",
    "experiment_look",
    "release_watch",
    "reconcile_registry",
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
       color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: #57606a }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .6rem; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.done { color: #1a7f37 } .failed { color: #b3261e; font-weight: 600 } .running { color: #8a5a00 }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 }
  th, td { border-color: #30363d } caption { color: #9198a1 }
  .done { color: #3fb950 } .failed { color: #ff7b72 } .running { color: #d29922 } }
"""


@app.get("/status", response_class=HTMLResponse, dependencies=[Depends(requires_access_dag("GET"))])
def status_page() -> str:
    """The page. Runs in a worker thread, as FastAPI does with plain functions: the queries may block."""
    from hrloop.rhythms import Loop
    from hrloop.rhythms.status import status

    return render(status(Loop.open().warehouse))


def render(found: dict[str, list[dict]]) -> str:
    """The page as HTML; every value is escaped."""
    parts = [
        _section("Champions", "The version that decides, and who approved it.", found["champions"]),
        _section("Measured of the champion", "On held-out outcomes, before its release.", found["metrics"]),
        _section("Decisions by route", "Review: a person looks at them.", found["decisions"]),
        _section("Reviews", "What people said to the recommendations.", found["reviews"]),
        _steps(found["steps"]),
        _section("Outcomes at their milestones", "As of where the warehouse stands.", found["milestones"]),
        _section("Last gate failures", "What stopped a batch. Newest first.", found["gate_failures"]),
        _section("Rows", "Rows in = rows passed + rows in quarantine, always.", found["rows"]),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>HR loop: status</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body><h1>HR loop: status</h1>{''.join(parts)}</body></html>"
    )


def _section(title: str, caption: str, rows: list[dict]) -> str:
    if not rows:
        return f"<h2>{escape(title)}</h2><p>None yet.</p>"
    head = "".join(f"<th scope='col'>{escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(_cell(value) for value in row.values())}</tr>" for row in rows)
    return (
        f"<h2>{escape(title)}</h2><table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if number else ''}>{escape(_text(value))}</td>"


def _text(value: object) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _steps(rows: list[dict]) -> str:
    """A row for each as_of, a column for each step; the figures of a step are its tooltip."""
    if not rows:
        return "<h2>Steps</h2><p>None yet: run ingest.</p>"
    states: dict[object, dict[str, list[str]]] = {}
    for row in rows:
        name = row["state"] if row["use_case"] == "*" else f"{row['use_case']}: {row['state']}"
        figures = json.dumps(row["summary"])
        states.setdefault(row["as_of"], {}).setdefault(row["step"], []).append(
            f"<span class='{escape(row['state'])}' title='{escape(figures)}'>{escape(name)}</span>"
        )
    head = "".join(f"<th scope='col'>{step}</th>" for step in STEPS)
    body = "".join(
        f"<tr><th scope='row'>{escape(_text(as_of))}</th>"
        + "".join(f"<td>{'<br>'.join(cells.get(step, []))}</td>" for step in STEPS)
        + "</tr>"
        for as_of, cells in states.items()
    )
    return (
        "<h2>Steps</h2><table><caption>What is done for each as_of, newest first.</caption>"
        f"<thead><tr><th scope='col'>as of</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


class HRLoopPlugin(AirflowPlugin):
    name = "hrloop"
    fastapi_apps = [{"app": app, "url_prefix": "/hr", "name": "HR loop"}]  # noqa: RUF012 - Airflow's interface
    if settings.load().approval_webhook:
        fastapi_apps.append(
            {"app": hrloop_webhook.app, "url_prefix": hrloop_webhook.PREFIX, "name": "HR loop: approvals"}
        )
    external_views = [  # noqa: RUF012 - Airflow's interface
        {
            "name": "HR loop",
            "href": "/hr/status",
            "url_route": "hr-loop",
            "destination": "nav",
            "category": "browse",
        }
    ]
