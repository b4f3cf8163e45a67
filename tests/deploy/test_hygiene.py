"""The files that keep the repository clean: hooks, workflow, secrets, and what is never committed."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
HOOKS = [
    hook
    for repository in yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))[
        "repos"
    ]
    for hook in repository["hooks"]
]
WORKFLOW = PROJECT / ".github" / "workflows" / "ci.yml"


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in command], cwd=PROJECT, capture_output=True, text=True, check=False, **kwargs
    )


def tracked() -> list[str]:
    return run("git", "ls-files").stdout.splitlines()


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_the_pinned_program(hook: dict) -> None:
    """Its version cannot differ from that of `make test`: it is the same file in the same environment."""
    if hook["language"] == "pygrep":  # pre-commit's own
        return
    assert hook["language"] == "system"
    program = Path(hook["entry"].split()[0])
    assert program.parent == Path(".venv/bin")
    assert (BIN / program.name).exists()
    pins = (PROJECT / "requirements-dev.txt").read_text(encoding="utf-8")
    scripts = {script.name: script.dist.name for script in entry_points(group="console_scripts")}
    package = scripts.get(program.name, program.name)  # ruff is a binary: no entry point, same name
    assert re.search(rf"^{package.replace('_', '-')}==", pins, flags=re.MULTILINE)


def test_pre_commit_accepts_its_configuration() -> None:
    checked = run(BIN / "pre-commit", "validate-config")
    assert checked.returncode == 0, checked.stdout


def test_style_and_secrets_are_looked_at_before_each_commit() -> None:
    assert {"ruff-check", "ruff-format", "sqlfluff-lint", "detect-secrets"} <= {hook["id"] for hook in HOOKS}


def test_no_secret_is_committed() -> None:
    scanned = run(BIN / "detect-secrets-hook", "--baseline", ".secrets.baseline", *text_files())
    assert scanned.returncode == 0, scanned.stdout


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    careless = tmp_path / "settings.py"
    careless.write_text('API_KEY = "' + "c3VwZXI" + '6c2VjcmV0LXBhc3N3b3Jk"\n', encoding="utf-8")
    scanned = run(BIN / "detect-secrets-hook", "--baseline", ".secrets.baseline", careless)
    assert scanned.returncode == 1
    assert "settings.py" in scanned.stdout


def test_the_baseline_excuses_nothing() -> None:
    """What is no secret says so on its own line; the baseline is only the scanner's settings."""
    baseline = json.loads((PROJECT / ".secrets.baseline").read_text(encoding="utf-8"))
    assert baseline["results"] == {}


def text_files() -> list[str]:
    return [path for path in tracked() if Path(path).suffix not in (".png", ".parquet", ".gz")]


def test_no_state_is_committed() -> None:
    state = {".env", ".hrloop", "landing", "truth", ".venv", "target", "mlruns", "mlartifacts", "__pycache__"}
    assert [path for path in tracked() if state & set(Path(path).parts)] == []
    for path in (".env", ".hrloop/secrets/pseudonym_key", "landing/ats/applications/2024-02-01.csv"):
        ignored = run("git", "check-ignore", "--quiet", "--no-index", path)
        assert ignored.returncode == 0, f"{path} is not ignored"


def test_no_model_is_pickled() -> None:
    assert [path for path in tracked() if Path(path).suffix in (".pkl", ".pickle", ".joblib")] == []


def test_the_workflow_keeps_githubs_schema() -> None:
    checked = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    assert checked.returncode == 0, checked.stdout


def test_the_workflow_may_read_and_no_more() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    (job,) = workflow["jobs"].values()
    assert "permissions" not in job
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action) for action in actions)
    assert job["steps"][0]["with"]["persist-credentials"] is False


def test_the_workflow_does_what_ci_does_everywhere() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    asked = re.search(r'requires-python = ">=(3\.\d+),<3\.(\d+)"', (PROJECT / "pyproject.toml").read_text())
    oldest, newest = asked[1], f"3.{int(asked[2]) - 1}"
    assert job["strategy"]["matrix"]["python"] == [oldest, newest]


def test_the_engine_names_no_use_case() -> None:
    """A use case is a folder in models/ and its marts; the practice company alone knows what it is about."""
    names = sorted(path.parent.name for path in (PROJECT / "models").glob("*/use_case.yaml"))
    assert len(names) >= 2
    engine = [path for path in tracked() if re.match(r"plugins/hrloop/(?!practice/).*\.(py|html|sql)$", path)]
    found = run("git", "grep", "-niwE", "|".join(names), "--", *engine)
    assert found.returncode == 1, found.stdout


def test_nothing_but_what_measures_by_it_reads_the_truth() -> None:
    """A loop that saw what would have become of everybody in the practice company would prove nothing."""
    engine = [path for path in tracked() if re.match(r"plugins/(?!hrloop/practice/)|dags/|dbt/|demo/", path)]
    reading = r"practice\.truth|\.truth\b|import.*\btruth\b|['\"]truth['\"]"
    found = run("git", "grep", "-lE", reading, "--", *engine)
    assert set(found.stdout.split()) == {"plugins/hrloop/settings.py", "plugins/hrloop/replay/runs.py"}
