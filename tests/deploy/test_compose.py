"""Policy for docker-compose.yaml: what must hold of every service, whatever is added later."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hrloop.services import OWNER, SERVICE_ACCOUNT, VIEWER
from hrloop.settings import Settings
from hrloop.warehouse.connections import ROLES, SERVICES
from hrloop.warehouse.server import OPTIONS

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")
EXAMPLE = (PROJECT / ".env.example").read_text(encoding="utf-8")
ONE_SHOT = {"bootstrap", "accounts"}
PULLED = {"postgres", "redis"}
NAMES = list(yaml.safe_load(TEXT)["services"])

each_service = pytest.mark.parametrize("name", NAMES)


def schema_errors(path: Path) -> subprocess.CompletedProcess:
    command = [
        Path(sys.executable).parent / "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        path,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_keeps_the_compose_specification(compose: dict, tmp_path: Path) -> None:
    resolved = tmp_path / "docker-compose.yaml"
    resolved.write_text(yaml.safe_dump(compose), encoding="utf-8")
    for path in (PROJECT / "docker-compose.yaml", resolved):
        checked = schema_errors(path)
        assert checked.returncode == 0, checked.stdout


def test_the_specification_is_really_asked(compose: dict, tmp_path: Path) -> None:
    wrong = json.loads(json.dumps(compose))
    wrong["services"]["mlflow"]["helthcheck"] = {}
    path = tmp_path / "docker-compose.yaml"
    path.write_text(yaml.safe_dump(wrong), encoding="utf-8")
    checked = schema_errors(path)
    assert checked.returncode == 1
    assert "helthcheck" in checked.stdout


def test_the_stack_is_complete() -> None:
    assert {
        "postgres", "mlflow", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor",
        "airflow-triggerer", "airflow-worker", "redis",
    } | ONE_SHOT == set(NAMES)  # fmt: skip


@each_service
def test_a_service_that_stays_is_watched_and_comes_back(compose: dict, name: str) -> None:
    service = compose["services"][name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


@each_service
def test_waiting_is_for_something_that_can_happen(compose: dict, name: str) -> None:
    for other, how in compose["services"][name].get("depends_on", {}).items():
        waited_for = compose["services"][other]
        if how["condition"] == "service_completed_successfully":
            assert other in ONE_SHOT
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in waited_for
        if "profiles" in waited_for:  # else `up` without the profile fails
            assert compose["services"][name].get("profiles") == waited_for["profiles"]


@each_service
def test_nothing_is_published_beyond_this_host(compose: dict, name: str) -> None:
    service = compose["services"][name]
    assert "network_mode" not in service
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    if name in PULLED:
        assert "ports" not in service
        assert service["networks"] == ["databases"]
        assert compose["networks"]["databases"]["internal"] is True


@each_service
def test_an_image_is_pinned(compose: dict, name: str) -> None:
    service = compose["services"][name]
    image, _, tag = service["image"].partition(":")
    assert "/" not in image, "no registry host, no foreign namespace"
    if name in PULLED:
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", tag), f"{service['image']} moves"
        assert "build" not in service
    else:
        version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "version"
        ]
        assert (image, tag) == ("hrloop", version)
        assert service["build"] == {"context": "."}


@each_service
def test_a_container_may_do_little(compose: dict, name: str) -> None:
    service = compose["services"][name]
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name == "postgres":
        return  # its image starts as root to own its data folder, and serves as postgres
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    # our image's own user is held by the Dockerfile's test
    assert "user" not in service or service["user"] == "redis"


@each_service
def test_folders_of_the_host_are_only_read(compose: dict, name: str) -> None:
    for volume in compose["services"][name].get("volumes", []):
        if isinstance(volume, dict):
            assert volume["read_only"] is True
            continue
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert mode == ["ro"]
            assert (PROJECT / source).is_dir()
        else:
            assert source in compose["volumes"]


def test_every_variable_is_required_and_explained(raw_compose: dict) -> None:
    used = set(re.findall(r"(?<!\$)\$\{?([A-Za-z_][A-Za-z0-9_]*)", TEXT))
    required = set(re.findall(r"\$\{([A-Z0-9_]+):\?[^}]+\}", TEXT))
    documented = set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, flags=re.MULTILINE))
    assert used == required == documented


def test_whatever_hrloop_reads_is_listed(dotenv: dict[str, str]) -> None:
    """Every setting, and every secret that the engine asks for by a name of its own."""
    for name in Settings.model_fields:
        variable = "DATABASE_URL" if name == "database_url" else f"HRLOOP_{name.upper()}"
        assert re.search(rf"^# {variable} ", EXAMPLE, flags=re.MULTILINE), variable
    asked = set()
    for path in (PROJECT / "plugins").rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r"\.secret\(\"([a-z_]+)\"\)", code))
        for constant in re.findall(r"\.secret\(([A-Z_]+)\)", code):
            asked |= set(re.findall(rf"^{constant} = \"([a-z_]+)\"", code, flags=re.MULTILINE))
    asked |= {f"postgres_{role}" for role in (*ROLES, *SERVICES)}
    asked |= {f"mlflow_{user}" for user in (SERVICE_ACCOUNT, OWNER, VIEWER)}
    assert len(asked) > 15
    assert {f"HRLOOP_SECRET_{name.upper()}" for name in asked} - set(dotenv) == set()


def test_there_is_no_secret_in_either_file(raw_compose: dict) -> None:
    sensitive = re.compile(r"SECRET|PASSWORD|AUTH|TOKEN|KEY")
    for name, service in raw_compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if sensitive.search(variable):
                assert re.fullmatch(r"\$\{HRLOOP_SECRET_[A-Z_]+:\?[^}]+\}", value), f"{name}: {variable}"
    assert not re.findall(r"://[^/\s]*:(?!\$\{)[^/@\s]+@", TEXT), "a password in a URL"
    assert re.findall(r"^(HRLOOP_SECRET_\w+)=(.+)$", EXAMPLE, flags=re.MULTILINE) == []


def test_a_secret_keeps_its_name(compose: dict, dotenv: dict[str, str]) -> None:
    """A service reads its secrets by the names under which .env has them; two never get mixed up."""
    for service in compose["services"].values():
        for variable, value in service.get("environment", {}).items():
            if variable.startswith("HRLOOP_SECRET_"):
                assert value == dotenv[variable]


def test_a_page_is_not_given_the_keys_of_the_warehouse(compose: dict, dotenv: dict[str, str]) -> None:
    allowed = {
        "mlflow": {"MLFLOW"},
        "accounts": set(),
        "airflow-apiserver": {"AIRFLOW", "ENGINE"},
        "airflow-dag-processor": {"AIRFLOW"},
        "airflow-triggerer": {"AIRFLOW"},
    }
    database_passwords = {
        role.upper(): dotenv[f"HRLOOP_SECRET_POSTGRES_{role.upper()}"] for role in ROLES + SERVICES
    }
    database_passwords["ADMIN"] = dotenv["HRLOOP_SECRET_POSTGRES_ADMIN"]
    for name, roles in allowed.items():
        given = "\n".join(compose["services"][name]["environment"].values())
        assert {role for role, password in database_passwords.items() if password in given} == roles, name
        assert dotenv["HRLOOP_SECRET_PSEUDONYM_KEY"] not in given, name


def test_postgres_is_set_as_the_embedded_one(compose: dict) -> None:
    command = compose["services"]["postgres"]["command"]
    given = dict(word.split("=", 1) for word in command if "=" in word)
    of_the_embedded_one_alone = {"listen_addresses", "unix_socket_directories"}
    assert given == {name: value for name, value in OPTIONS.items() if name not in of_the_embedded_one_alone}
    initdb = compose["services"]["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    code = (PROJECT / "plugins/hrloop/warehouse/server.py").read_text(encoding="utf-8")
    assert {"--locale=C", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256"} < set(initdb)
    for argument in initdb:
        assert f'"{argument}"' in code
