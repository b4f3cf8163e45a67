"""The Dockerfile, read: no engine builds it here, so each thing that would break a build is looked at."""

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LINES = [
    line
    for line in (PROJECT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
INSTRUCTIONS = [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in LINES]
IGNORED = [
    line
    for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that meets it or a parent decides."""
    kept = True
    parents = [path, *(str(parent) for parent in PurePosixPath(path).parents if parent.name)]
    for pattern in IGNORED:
        bare = pattern.removeprefix("!").rstrip("/")
        deep = bare.removeprefix("**/")
        if any(
            fnmatch(part, bare) or fnmatch(PurePosixPath(part).name, deep) for part in parents if part != "."
        ):
            kept = pattern.startswith("!")
    return kept


def copied() -> list[str]:
    """Sources of every COPY out of the build context."""
    found = []
    for instruction, arguments in INSTRUCTIONS:
        if instruction == "COPY" and not arguments.startswith("--from="):
            found += arguments.split()[:-1]
    return found


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_there_tracked_and_in_the_context(source: str) -> None:
    assert in_context(source)
    tracked = subprocess.run(
        ["git", "ls-files", "--", source], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert tracked.stdout or not (PROJECT / ".git").exists(), f"{source} is not in the repository"
    assert (PROJECT / source).exists()


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".hrloop/secrets/pseudonym_key", ".git/config", ".venv/pyvenv.cfg", "landing/ats/x.csv",
        "dbt/target/manifest.json", "plugins/hrloop/__pycache__/cli.pyc", "tests/conftest.py",
    ],
)  # fmt: skip
def test_no_state_and_no_secret_enters_the_context(path: str) -> None:
    assert not in_context(path)


def test_it_starts_from_a_pinned_image_of_no_named_registry() -> None:
    (image,) = [arguments for instruction, arguments in INSTRUCTIONS if instruction == "FROM"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", image)


def test_packages_are_the_locked_ones() -> None:
    """Every pip call takes hashes, or nothing but hrloop itself."""
    calls = [call for name, arguments in INSTRUCTIONS if name == "RUN" for call in arguments.split("&&")]
    installs = [set(shlex.split(call)) for call in calls if call.split()[:2] == ["pip", "install"]]
    locked, own = installs
    assert {"--require-hashes", "--only-binary", ":all:", "requirements.txt"} <= locked
    assert {"--no-deps", "--no-build-isolation", "--editable", "."} <= own


def test_it_runs_as_an_ordinary_user() -> None:
    users = [arguments for instruction, arguments in INSTRUCTIONS if instruction == "USER"]
    assert users == ["hrloop"]
    after = [name for name, _ in INSTRUCTIONS][[name for name, _ in INSTRUCTIONS].index("USER") + 1 :]
    assert set(after) <= {"WORKDIR", "CMD"}


def test_nothing_secret_is_built_in() -> None:
    assert not [line for line in LINES if re.search(r"SECRET|PASSWORD|TOKEN|HRLOOP_SECRET", line)]
    assert not [name for name, _ in INSTRUCTIONS if name in ("ARG", "ADD")]


def test_the_locked_packages_can_build_hrloop() -> None:
    """`--no-build-isolation` needs the build backend among the locked packages."""
    locked = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    pin = re.search(r"^setuptools==(\d+)", locked, flags=re.MULTILINE)
    asked = re.search(r"setuptools>=(\d+)", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert int(pin[1]) >= int(asked[1])


@pytest.mark.parametrize("script", ["container.py", "health.py"])
def test_what_the_containers_run_starts(script: str) -> None:
    """The scripts that docker-compose.yaml names exist at the path at which the image has them."""
    compose = (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")
    assert f"/opt/hrloop/deploy/{script}" in compose
    if script == "container.py":
        shown = subprocess.run(
            [sys.executable, PROJECT / "deploy" / script, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == 0
        assert "becomes MLflow's server" in shown.stdout
