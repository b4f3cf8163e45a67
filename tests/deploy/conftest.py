"""The compose file as Docker Compose would read it."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Z][A-Z0-9_]*)(?::\?(?P<message>[^}]*))?\})")


def interpolated(value, variables: dict[str, str]):
    """``value`` with each ``${NAME:?message}`` replaced and ``$$`` as ``$``. KeyError for an unset name."""
    if isinstance(value, dict):
        return {key: interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, variables) for inner in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: variables[match["name"]] if match["name"] else "$", value)
    return value


@pytest.fixture(scope="session")
def raw_compose() -> dict:
    """docker-compose.yaml with anchors and merges resolved, variables not."""
    return yaml.safe_load((PROJECT / "docker-compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def dotenv() -> dict[str, str]:
    """What deploy/make_env.py would write, by name."""
    filled = runpy.run_path(str(PROJECT / "deploy" / "make_env.py"))["filled"]
    text = filled((PROJECT / ".env.example").read_text(encoding="utf-8"))
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@pytest.fixture(scope="session")
def compose(raw_compose: dict, dotenv: dict[str, str]) -> dict:
    """docker-compose.yaml as it is run with a fresh ``.env``."""
    return interpolated(raw_compose, dotenv)
