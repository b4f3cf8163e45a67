"""An installation with Airflow's metadata in Postgres, and a process that runs its DAGs."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hrloop import services, sources, transform
from hrloop.rhythms import Loop
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse
from sqlalchemy import create_engine, text

_numbers = itertools.count(1)


@dataclass
class Runner:
    """The process behind ``runner.py``: started when first asked, and again after it was killed."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen | None = field(default=None)

    def begin(self, dag: str, settings: Settings, **conf: str | bool) -> None:
        """Ask for a run, and do not wait for it."""
        if self.process is None:
            self._start()
        environment = {
            "HRLOOP_DATABASE": settings.database,
            "HRLOOP_LANDING_DIR": str(settings.landing),
            "HRLOOP_PROJECT": str(settings.project),
        }
        print(json.dumps({"dag": dag, "conf": conf, "env": environment}), file=self.process.stdin, flush=True)

    def run(self, dag: str, settings: Settings, **conf: str | bool) -> dict:
        """Run a DAG to its end: {"state": …, "tasks": {task: state}}."""
        self.begin(dag, settings, **conf)
        return self.end()

    def end(self) -> dict:
        """Wait for the run that was begun."""
        return self._answer()

    def kill(self) -> None:
        """kill -9, wherever it is."""
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let the process end, and forget it."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process = None

    def _start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("runner.py"))],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._answer()["import_errors"] == {}

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        assert line, f"the runner died; the end of its log:\n{self.log.read_text()[-4000:]}"
        return json.loads(line)


@pytest.fixture(scope="session")
def airflow(server: Warehouse) -> Warehouse:
    """The session's installation, with Airflow's metadata migrated and the dbt project parsed."""
    transform.parse(server.settings)
    services.migrate_airflow(server.settings, server)
    return server


@pytest.fixture(scope="session")
def runner(airflow: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs DAGs of any warehouse of this test session."""
    environment = {
        **os.environ,
        **services.airflow_environment(airflow.settings, airflow),
        "AIRFLOW__COSMOS__CACHE_DIR": str(airflow.settings.home / "cosmos"),
        "HRLOOP_APPROVAL_POLL_SECONDS": "0.5",
    }
    one = Runner(environment, tmp_path_factory.mktemp("runner") / "log.txt")
    yield one
    if one.process:
        one.close()


@pytest.fixture(scope="module")
def make_loop(server: Warehouse) -> Iterator[Callable[..., Loop]]:
    """Makes loops, each with a fresh warehouse, in the session's installation: one home, so equal secrets."""
    maintenance = create_engine(
        server.admin.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    made: list[Loop] = []

    def make(landing: Path, **settings: object) -> Loop:
        name = f"dags_{os.getpid()}_{next(_numbers)}"
        server.dispose()  # a template must have no other connections
        with maintenance.connect() as connection:
            connection.execute(text(f"create database {name} template {server.database}"))
            connection.execute(text(f"grant connect, temporary on database {name} to public"))
        update = {"database": name, "landing_dir": landing, **settings}
        own = server.settings.model_copy(update=update)
        loop = Loop(own, replace(server, database=name, settings=own, _engines={}))
        sources.ensure_tables(loop.warehouse)
        made.append(loop)
        return loop

    yield make
    for loop in made:
        loop.warehouse.dispose()
        with maintenance.connect() as connection:
            connection.execute(text(f"drop database {loop.warehouse.database} with (force)"))
    maintenance.dispose()
