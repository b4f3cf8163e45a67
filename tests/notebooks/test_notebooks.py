"""The notebooks run top to bottom on a small practice company; their own assertions hold."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from hrloop import features, learning, practice, release, sources
from hrloop.decisions import rounds
from hrloop.rhythms import Loop, intake, recorded
from hrloop.settings import PROJECT, Settings
from hrloop.warehouse import EmbeddedServer
from nbclient import NotebookClient

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
USE_CASE, MONTHS, AS_OF = "recruitment", 30, datetime(2026, 4, 2, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An installation after one round: exports taken, warehouse built, a model learnt, cases decided.

    The steps are the loop's own; only the registry is left out, which the notebooks do not need.
    """
    home = tmp_path_factory.mktemp("installation")
    settings = Settings(home=home).model_copy(update={"database_url": None, "landing_dir": None})
    practice.history(settings, MONTHS, seed=7, applications_per_month=200)
    loop = Loop(settings)
    sources.ensure_tables(loop.warehouse)
    for step in (intake.ingest, intake.gate, intake.build):
        step(loop, AS_OF)
    declaration = loop.use_case(USE_CASE)
    with recorded(loop, "weekly_retraining", AS_OF, USE_CASE) as summary:
        fitted = learning.fit(declaration, features.training_frame(loop.warehouse, declaration, AS_OF), AS_OF)
        finding = release.Finding("insufficient_evidence", "A test of the notebooks.", ("too small",))
        release.keep(loop.warehouse, declaration, finding, AS_OF)
        summary.update(verdict=finding.verdict, model=fitted.identity)
    open_cases = features.scoring_frame(loop.warehouse, declaration, AS_OF)
    decided = rounds.table_of(declaration, fitted, 1, open_cases, AS_OF, settings.secret(rounds.AUDIT_KEY))
    assert loop.warehouse.merge("engine", {rounds.TABLE: decided}) > 0
    loop.warehouse.dispose()
    yield settings
    EmbeddedServer.of(settings).stop()


@pytest.fixture
def kernel_environment(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel inherits: the small installation, and none of the developer's own settings."""
    for name in [name for name in os.environ if name.startswith("HRLOOP_") or name == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HRLOOP_HOME", str(installation.home))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == [
        "01_follow_one_application.ipynb",
        "02_what_the_model_learned.ipynb",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    """Outputs hold data about people, and make a diff unreadable."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_top_to_bottom(path: Path, kernel_environment: None, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    text = "\n".join(str(output.get("data", output.get("text"))) for output in outputs)
    if path.stem.startswith("01"):
        for refused in ("name", "email", "gender", "birth_year"):
            assert f"{refused}: permission denied" in text
        assert "recommended_action" in text, "the round of the loop is shown"
        assert "contribution" in text
    else:
        assert "as recorded" in text
        assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
