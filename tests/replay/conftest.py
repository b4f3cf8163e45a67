"""A project that asks for little evidence, and a past that replays begin with."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hrloop.replay import runs
from hrloop.replay.runs import Setting
from hrloop.settings import PROJECT
from hrloop.warehouse import Warehouse


@pytest.fixture(scope="session")
def small() -> Setting:
    """Two months of a company with 150 applications a month."""
    return Setting("recruitment", 150, history=9, months=2, change=1, milestone=3, weeks=2)


@pytest.fixture(scope="session")
def small_server(server: Warehouse, tmp_path_factory) -> Warehouse:
    """The session's Postgres, with a declaration that some dozen labels are enough for."""
    project = tmp_path_factory.mktemp("project")
    for name in ("dbt", "expectations"):
        os.symlink(PROJECT / name, project / name)
    declaration = (PROJECT / "models" / "recruitment" / "use_case.yaml").read_text(encoding="utf-8")
    for key, value in {"minimum_labels": "40", "minimum_evaluation_labels": "8", "trials": "2"}.items():
        declaration = re.sub(rf"(\b{key}:\n\s+value: )\S+", rf"\g<1>{value}", declaration)
    target = project / "models" / "recruitment" / "use_case.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(declaration, encoding="utf-8")
    return replace(server, settings=server.settings.model_copy(update={"project": project}), _engines={})


@pytest.fixture(scope="session")
def past(server: Warehouse, small_server: Warehouse, small: Setting, tmp_path_factory) -> Path:
    """A company's past, taken in and built."""
    server.dispose()  # a template must have no other connections
    folder = tmp_path_factory.mktemp("replays")
    runs.prepare(small_server, folder)
    runs.write_past(small_server, small, "steady", 1, folder / "past-steady-1")
    return folder / "past-steady-1"
