"""An installation with Airflow's metadata in Postgres, and a process that runs its DAGs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hrloop import services, sources, transform
from hrloop.rhythms import Loop
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse


@dataclass
class Runner:
    """The process behind ``runner.py``: started when first asked, and again after it was killed."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen | None = field(default=None)

    def start(self) -> None:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("runner.py"))],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=open(self.log, "ab"),  # noqa: SIM115 - the process keeps it
                text=True,
            )
            assert self._answer()["import_errors"] == {}

    def begin(self, dag: str, settings: Settings, conf: dict | None = None) -> None:
        """Ask for a run, and do not wait for it."""
        self.start()
        environment = {
            "HRLOOP_DATABASE": settings.database,
            "HRLOOP_LANDING_DIR": str(settings.landing),
            "HRLOOP_PROJECT": str(settings.project),
        }
        print(json.dumps({"dag": dag, "conf": conf or {}, "env": environment}), file=self.process.stdin)
        self.process.stdin.flush()

    def run(self, dag: str, settings: Settings, conf: dict | None = None) -> dict:
        """Run a DAG to its end: {"state", "tasks", "seconds"}."""
        self.begin(dag, settings, conf)
        return self._answer()

    def kill(self) -> None:
        """kill -9, wherever it is."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        assert line, f"the runner died; the end of its log:\n{self.log.read_text()[-4000:]}"
        return json.loads(line)


@pytest.fixture(scope="session")
def runner(server: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs DAGs of any warehouse of this test session; the dbt project is parsed."""
    home = server.settings
    transform.parse(home)
    services.migrate_airflow(home, server)
    environment = {
        **os.environ,
        **services.airflow_environment(home, server),
        "AIRFLOW__COSMOS__CACHE_DIR": str(home.home / "cosmos"),
    }
    one = Runner(environment, tmp_path_factory.mktemp("runner") / "log.txt")
    yield one
    if one.process:
        one.process.stdin.close()
        one.process.wait(timeout=30)
        one.process.stdout.close()


@pytest.fixture
def loop(server: Warehouse, warehouse: Warehouse, tmp_path: Path) -> Loop:
    """A fresh warehouse in the session's installation (one home, so one set of secrets), with its landing."""
    settings = server.settings.model_copy(
        update={"database": warehouse.database, "landing_dir": tmp_path / "landing"}
    )
    sources.ensure_tables(warehouse)
    return Loop(settings, warehouse)
