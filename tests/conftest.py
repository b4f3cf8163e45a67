"""Real components for the tests: one embedded Postgres a session, one fresh warehouse a test."""

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from hrloop.settings import Settings
from hrloop.warehouse import EmbeddedServer, Warehouse, open_warehouse
from sqlalchemy import create_engine, text

pytest_plugins = ["fixtures_mlflow"]
# Two workers share the machine: how long an example takes says nothing about the code. The examples are the
# same in each run, so that a failure belongs to the change; --hypothesis-profile=explore looks for new ones.
hypothesis.settings.register_profile(
    "explore", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("shared", hypothesis.settings.get_profile("explore"), derandomize=True)
hypothesis.settings.load_profile("shared")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A bootstrapped Postgres of this test session, stopped at its end."""
    settings = Settings(home=tmp_path_factory.mktemp("installation"))
    yield open_warehouse(settings)
    if not settings.database_url:
        embedded = EmbeddedServer.of(settings)
        embedded.stop()
        for folder in (embedded.data, settings.home):  # as root the data may lie outside of home
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(server: Warehouse, tmp_path: Path) -> Settings:
    """Settings of an installation of its own that shares the session's server and its secrets."""
    home = tmp_path / "home"
    shutil.copytree(server.settings.home / "secrets", home / "secrets")
    return server.settings.model_copy(update={"home": home})


@pytest.fixture
def warehouse(server: Warehouse, settings: Settings) -> Iterator[Warehouse]:
    """A fresh copy of the bootstrapped warehouse, dropped after the test."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    maintenance = create_engine(
        server.admin.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    server.dispose()  # a template must have no other connections
    with maintenance.connect() as connection:
        connection.execute(text(f"create database {name} template {server.database}"))
        connection.execute(text(f"grant connect on database {name} to public"))
        connection.execute(text(f"grant temporary on database {name} to loader, engine, transformer"))
    fresh = replace(server, database=name, settings=settings, _engines={})
    yield fresh
    fresh.dispose()
    with maintenance.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    maintenance.dispose()
