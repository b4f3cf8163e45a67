"""The whole intake under a real scheduler: LocalExecutor, runs triggered over the REST API, all at once.

And an approval that MLflow tells of, from the owner's click to the champion.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import hrloop_webhook
import pytest
import requests
from hrloop import as_of as moment
from hrloop import learning, practice, release, services
from hrloop.release import Finding
from hrloop.rhythms import Loop
from sqlalchemy import text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
AS_OFS = [datetime(2023 + (9 + n) // 12, (9 + n) % 12 + 1, 1, 6, tzinfo=UTC) for n in range(1, 7)]
CHAIN = {"ingest": "ingest", "quality_gate": "gate", "warehouse": "warehouse"}  # DAG → step in the ledger
PATIENCE = 1200  # seconds; about four minutes on two cores of its own


class Airflow:
    """Airflow's REST API as the one user it has."""

    def __init__(self, loop: Loop):
        self.url = services.airflow_url(loop.settings)
        self.session = requests.Session()
        self.session.trust_env = False
        answer = self.session.post(
            f"{self.url}/auth/token",
            json={"username": "admin", "password": loop.settings.secret("airflow_admin")},
            timeout=60,
        )
        answer.raise_for_status()
        self.token = answer.json()["access_token"]

    def call(self, method: str, path: str, **content) -> dict:
        answer = self.session.request(
            method,
            f"{self.url}/api/v2/{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            **content,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def trigger(self, dag: str, **conf: str) -> str:
        body = {"logical_date": None, "conf": conf}
        return self.call("POST", f"dags/{dag}/dagRuns", json=body)["dag_run_id"]

    def end_abandoned_runs(self) -> None:
        """Mark the runs failed that other tests killed: they would stand as running for ever.

        The scheduler never started them, so it does not miss them, and a DAG that runs one at a time waits.
        """
        for run in self.call("GET", "dags/~/dagRuns?state=running&limit=100")["dag_runs"]:
            path = f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
            self.call("PATCH", path, json={"state": "failed"})

    def busy(self, dag: str) -> bool:
        return bool(self.call("GET", f"dags/{dag}/dagRuns?state=queued&state=running")["total_entries"])

    def wait_for(self, dags: tuple[str, ...]) -> None:
        """Until all DAGs were read."""
        deadline = time.monotonic() + 300
        while not set(dags) <= {dag["dag_id"] for dag in self.call("GET", "dags?limit=100")["dags"]}:
            assert time.monotonic() < deadline, self.call("GET", "importErrors")
            time.sleep(2)


@pytest.fixture(scope="module")
def loop(airflow, make_loop, tmp_path_factory) -> Loop:
    folder: Path = tmp_path_factory.mktemp("company")
    practice.history(folder, months=len(AS_OFS), applications_per_month=60)
    loop = make_loop(folder / "landing", approval_webhook=True)
    try:
        services.start_airflow(loop.settings, loop.warehouse, report=lambda _: None)
        yield loop
    finally:
        services.stop(loop.settings, *services.AIRFLOW)


def states(loop: Loop) -> dict[tuple[str, datetime], str]:
    with loop.warehouse.engine("engine").connect() as connection:
        return {(r.step, r.as_of): r.state for r in connection.execute(text("select * from loop.steps"))}


def test_six_ingests_at_once_and_every_as_of_is_processed(loop):
    api = Airflow(loop)
    api.wait_for(tuple(CHAIN))
    api.end_abandoned_runs()
    for dag in CHAIN:
        api.call("PATCH", f"dags/{dag}", json={"is_paused": False})
    with ThreadPoolExecutor(len(AS_OFS)) as pool:
        runs = list(pool.map(lambda as_of: api.trigger("ingest", as_of=moment.text(as_of)), AS_OFS))
    assert len(set(runs)) == len(AS_OFS)

    deadline = time.monotonic() + PATIENCE
    for dag, step in CHAIN.items():
        while any(states(loop).get((step, as_of)) != "done" for as_of in AS_OFS):
            assert time.monotonic() < deadline, (dag, states(loop))
            time.sleep(3)
            if dag != "ingest" and not any(api.busy(name) for name in CHAIN):
                api.trigger(dag)  # an event was lost: what the clock's sweep would do next morning
    for run in runs:
        assert api.call("GET", f"dags/ingest/dagRuns/{run}")["state"] == "success"
    with loop.warehouse.engine("admin").connect() as connection:
        assert connection.scalar(text("select count(*) from outcomes.fct_decisions")) > 100


def test_the_status_page_asks_for_airflows_login(loop):
    page = f"{services.airflow_url(loop.settings)}/hr/status"
    session = requests.Session()
    session.trust_env = False
    assert session.get(page, timeout=60).status_code == requests.codes.unauthorized
    assert session.get(page.replace("status", "openapi.json"), timeout=60).status_code in (401, 404)
    shown = session.get(page, headers={"Authorization": f"Bearer {Airflow(loop).token}"}, timeout=60)
    assert shown.ok
    assert "2023-11-01T06:00:00Z" in shown.text
    assert "ats.applications" in shown.text


def test_an_approval_in_mlflow_starts_the_run_that_releases(
    loop, registry, owner, small_case, decided, as_of
):
    use_case = small_case.model_copy(update={"name": "recruitment"})  # which models/ declares
    frame = decided()
    fitted = learning.fit(use_case, frame, as_of)
    finding = Finding("promote", "Better.", ("It is better.",))
    version = release.propose(loop.warehouse, registry, use_case, fitted, finding, frame, as_of)
    api = Airflow(loop)
    api.wait_for(("release_watch",))
    api.end_abandoned_runs()
    api.call("PATCH", "dags/release_watch", json={"is_paused": True})
    services.keep_webhook(loop.settings)
    deadline = time.monotonic() + 240
    try:
        release.approve(owner, use_case, version, "It is better.")
        while not (runs := api.call("GET", "dags/release_watch/dagRuns?state=queued")["dag_runs"]):
            assert time.monotonic() < deadline, "MLflow's call started nothing"
            time.sleep(0.2)
    finally:
        services.keep_webhook(loop.settings.model_copy(update={"approval_webhook": False}))
    (run,) = runs
    assert run["dag_run_id"].startswith("approval__")
    assert (run["conf"], run["triggering_user_name"]) == ({"use_case": "recruitment"}, "MLflow")
    assert release.read(loop.warehouse, "recruitment") == []

    identity, timestamp = run["dag_run_id"].removeprefix("approval__"), str(int(time.time()))
    body = b'{"data": {"name": "recruitment", "key": "approval.status", "value": "approved"}}'
    key = loop.settings.secret("mlflow_webhook")
    headers = {
        "X-MLflow-Delivery-Id": identity,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": hrloop_webhook.signature(key, identity, timestamp, body),
    }
    again = api.session.post(f"{api.url}{services.WEBHOOK_PATH}", data=body, headers=headers, timeout=60)
    assert again.json() == {"run_id": run["dag_run_id"]}, "tried again by MLflow, one run"
    assert len(api.call("GET", "dags/release_watch/dagRuns?state=queued")["dag_runs"]) == 1

    api.call("PATCH", "dags/release_watch", json={"is_paused": False})
    while registry.aliases("recruitment").get("champion") != version:
        assert time.monotonic() < deadline, api.call("GET", "dags/release_watch/dagRuns")
        time.sleep(0.5)
    (row,) = release.read(loop.warehouse, "recruitment")
    assert (row.kind, row.version, row.approved_by) == ("first", version, "owner")
