"""deploy/make_env.py: secrets that fit where they go, in a file for its owner alone, never overwritten."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "deploy" / "make_env.py"


def run(target: Path) -> subprocess.CompletedProcess:
    # -I: the script must work before anything is installed
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, target], capture_output=True, text=True, check=False
    )


def read(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_empty_value_is_filled_with_a_secret_of_its_own(tmp_path: Path) -> None:
    assert run(tmp_path / ".env").returncode == 0
    example, made = read(PROJECT / ".env.example"), read(tmp_path / ".env")
    assert list(made) == list(example)
    secrets = [made[name] for name, value in example.items() if not value]
    assert len(set(secrets)) == len(secrets) > 0
    # A URL, a shell and YAML must all take it as it is, and 256 bits must not be guessed.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    assert all(made[name] == value for name, value in example.items() if value)


def test_only_the_owner_may_read_it_and_no_draft_stays(tmp_path: Path) -> None:
    run(tmp_path / ".env")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    target = tmp_path / ".env"
    target.write_text("HRLOOP_SECRET_PSEUDONYM_KEY=kept\n", encoding="utf-8")
    second = run(target)
    assert second.returncode == 1
    assert "stays as it is" in second.stderr
    assert target.read_text(encoding="utf-8") == "HRLOOP_SECRET_PSEUDONYM_KEY=kept\n"
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_line_that_is_no_assignment_is_named() -> None:
    with pytest.raises(ValueError, match=r"line 2 is not NAME=value: 'export A=1'"):
        runpy.run_path(str(SCRIPT))["filled"]("# fine\nexport A=1\n")
