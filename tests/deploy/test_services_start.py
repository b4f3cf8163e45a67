"""Each service's very command, started natively with the compose file's own environment.

No container engine is needed: what the containers would resolve by name and path is replaced by this
machine's addresses and folders, and nothing else is added. A variable that the compose file forgets is
missing here as well. Every service must pass its own health check's very command.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from hrloop.settings import Settings
from hrloop.warehouse import EmbeddedServer

PROJECT = Path(__file__).resolve().parents[2]
WITHIN = 240.0  # seconds for all services together; on two idle cores they take 40


def free_ports(count: int) -> list[str]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", text, flags=re.MULTILINE)
    return dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(lines)))


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, dotenv: dict[str, str]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A home with a running Postgres that has ``.env``'s password, and what stands for what natively."""
    home = tmp_path_factory.mktemp("state")
    postgres = Settings(home=tmp_path_factory.mktemp("postgres"))
    postgres.home.joinpath("secrets").mkdir()
    password = postgres.home / "secrets" / "postgres_admin"
    password.write_text(dotenv["HRLOOP_SECRET_POSTGRES_ADMIN"], encoding="utf-8")
    (home / "landing").mkdir()
    server = EmbeddedServer.of(postgres)
    port = server.start()
    airflow, mlflow, redis = free_ports(3)
    yield (
        home,
        {
            r"@postgres:5432/": f"@127.0.0.1:{port}/",
            r"//postgres:5432/": f"//127.0.0.1:{port}/",
            r"\b(airflow-apiserver|localhost):8080\b": f"127.0.0.1:{airflow}",
            r"^8080$": airflow,
            r"\b(mlflow|localhost):5000\b": f"127.0.0.1:{mlflow}",
            r"@redis:6379/": f"@127.0.0.1:{redis}/",
            r"appendonly yes\n": f"appendonly yes\nbind 127.0.0.1\nport {redis}\n",
            r"redis-cli ping": f"redis-cli -p {redis} ping",
            r"\b0\.0\.0\.0\b": "127.0.0.1",
            r"/opt/hrloop": str(PROJECT),
            r"/var/lib/hrloop": str(home),
            r"/srv/landing": str(home / "landing"),
        },
    )
    server.stop()


@pytest.fixture(scope="module")
def native(installation, compose: dict) -> Callable[[str], dict]:
    """A service of the compose file as it runs here: its command, environment and health check."""
    home, replacements = installation

    def replaced(value: str) -> str:
        for pattern, here in replacements.items():
            value = re.sub(pattern, lambda _, here=here: here, value)
        return value

    def service(name: str) -> dict:
        given = compose["services"][name]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
        environment = {"PATH": path, "HOME": str(home), "HOSTNAME": socket.gethostname(), "LANG": "C.UTF-8"}
        for variable, value in {**image_environment(), **given["environment"]}.items():
            environment[variable] = replaced(value)
        shell, *check = [replaced(word) for word in given.get("healthcheck", {}).get("test", ["none"])]
        return {
            "command": [replaced(word) for word in given["command"]],
            "environment": environment,
            "check": ["sh", "-c", *check] if shell == "CMD-SHELL" else check,
        }

    return service


@pytest.fixture
def run(native, installation) -> Iterator[Callable[[str], subprocess.Popen]]:
    """Starts services, each with its log in the home; at the end all are stopped with their children."""
    home, _ = installation
    processes: dict[str, subprocess.Popen] = {}

    def start(name: str) -> subprocess.Popen:
        service = native(name)
        with open(home / f"{name}.log", "wb") as log:
            processes[name] = subprocess.Popen(
                service["command"],
                env=service["environment"],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return processes[name]

    yield start
    for number, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 5)):
        alive = [process for process in processes.values() if group_lives(process.pid)]
        for process in alive:
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        while any(group_lives(process.pid) for process in alive) and time.monotonic() < deadline:
            for process in alive:
                process.poll()
            time.sleep(0.1)


def group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def log_in(services: dict[str, dict], secret: Callable[[str], str]) -> None:
    """Whether the people of ``.env`` get in, and nobody else."""
    airflow = services["airflow-apiserver"]["environment"]["AIRFLOW__API__BASE_URL"]
    mlflow = services["mlflow"]["environment"]["HRLOOP_MLFLOW_URL"]
    with requests.Session() as session:
        session.trust_env = False

        def token(password: str) -> requests.Response:
            asked = {"username": "admin", "password": password}
            return session.post(f"{airflow}/auth/token", json=asked, timeout=30)

        def experiment(user: str, password: str) -> int:
            url = f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0"
            return session.get(url, auth=(user, password), timeout=30).status_code

        given = token(secret("AIRFLOW_ADMIN"))
        assert given.status_code == requests.codes.created
        assert token("admin").status_code == requests.codes.unauthorized
        bearer = {"Authorization": f"Bearer {given.json()['access_token']}"}
        page = session.get(f"{airflow}/hr/status", headers=bearer, timeout=60)
        assert page.ok, "it reads the warehouse without the administrator's password"
        for user in ("hrloop", "owner", "viewer"):
            assert experiment(user, secret(f"MLFLOW_{user.upper()}")) == requests.codes.ok
        assert experiment("admin", "password1234") == requests.codes.unauthorized  # MLflow's own default


def healthy(service: dict, home: Path) -> bool:
    done = subprocess.run(
        service["check"], env=service["environment"], cwd=home, capture_output=True, timeout=30, check=False
    )
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_every_service_starts_and_passes_its_health_check(
    compose: dict, dotenv: dict[str, str], native, run, installation
) -> None:
    home, _ = installation
    stays = {name for name, service in compose["services"].items() if "healthcheck" in service} - {"postgres"}
    if not shutil.which("redis-server"):
        stays -= {"redis", "airflow-worker"}

    services = {name: native(name) for name in stays}
    bootstrap = run("bootstrap")
    assert not [name for name in stays if healthy(services[name], home)], "healthy before it was started"
    assert bootstrap.wait(120) == 0, (home / "bootstrap.log").read_text(encoding="utf-8")[-3000:]

    started = {name: run(name) for name in stays}
    waiting, deadline = set(stays), time.monotonic() + WITHIN
    while waiting:
        # Celery's check starts a Python process of its own: not while others still start.
        for name in waiting - {"airflow-worker"} or set(waiting):
            log = home / f"{name}.log"
            assert started[name].poll() is None, f"{name} ended:\n{log.read_text(encoding='utf-8')[-3000:]}"
            if healthy(services[name], home):
                waiting.discard(name)
        assert time.monotonic() < deadline, f"not healthy after {WITHIN:.0f} s: {sorted(waiting)}"
        time.sleep(0.5)

    accounts = run("accounts")
    assert accounts.wait(60) == 0, (home / "accounts.log").read_text(encoding="utf-8")[-3000:]
    log_in(services, lambda name: dotenv[f"HRLOOP_SECRET_{name}"])
    # Had a secret been missing from the compose file, a service would have generated its own.
    assert not (home / "secrets").exists()
