"""The command as a person types it, on a warehouse of the test, and the worked example to spoil."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hrloop.cli import adopt as commands
from hrloop.cli import app
from hrloop.rhythms import Loop
from hrloop.sources import contract
from hrloop.warehouse.fingerprint import fingerprint
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def run(warehouse, settings, monkeypatch) -> Callable:
    """Runs ``hrloop`` with some words."""
    monkeypatch.setattr(commands, "loop", lambda: Loop(settings, warehouse))

    def command(*words: object):
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, words)])

    return command


@pytest.fixture
def check(run) -> Callable:
    """What ``hrloop adopt check --json`` says of a declaration; its exit code under ``exit``."""

    def report(declaration: Path, as_of: str) -> dict:
        done = run("adopt", "check", declaration, "--as-of", as_of, "--json")
        if not done.output.startswith("{"):
            raise done.exception
        return {"exit": done.exit_code, **json.loads(done.output)}

    return report


@pytest.fixture
def everything(warehouse) -> Callable[[], dict[str, str]]:
    """Fingerprints of all that a load may touch."""
    tables = [name for table in contract.load().values() for name in (table.raw, table.quarantine)]
    return lambda: {
        name: fingerprint(warehouse, name) for name in [*tables, "loop.batches", "loop.gate_results"]
    }


@pytest.fixture
def example(tmp_path) -> Path:
    """A copy of the worked example."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))
