"""Processes are started once, watched, and stopped with their children, and no others."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hrloop import services
from hrloop.services import Service, ServiceError
from hrloop.settings import Settings

PARENT = """
    import os, signal, subprocess, sys, time
    {signals}
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    # the last one leaves the session, as a shell command of a task does
    children = [subprocess.Popen(sleep, start_new_session=leaves) for leaves in (False, False, True)]
    open({file!r}, "w").write(" ".join(str(child.pid) for child in children))
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path):
    settings = Settings(home=tmp_path / "home")
    yield settings
    services.stop(settings)


@pytest.fixture
def family(tmp_path: Path):
    """A service with three children, healthy once they run; and the file that names them."""

    def make(name="family", signals="", **changes) -> tuple[Service, Path]:
        file = tmp_path / f"{name}.children"
        code = textwrap.dedent(PARENT.format(signals=signals, file=str(file)))
        given = {
            "name": name,
            "command": (sys.executable, "-c", code),
            "environment": {"PATH": os.environ["PATH"]},
            "healthy": lambda _: file.exists() and len(file.read_text().split()) == 3,
            "within": 60.0,
        }
        return Service(**given | changes), file

    return make


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()]


def quiet(_: str) -> None:
    pass


def test_started_once_and_stopped_with_all_children(home, family):
    service, file = family()
    assert services.start(home, service, report=quiet) == ["family"]
    (status,) = services.status(home)
    assert status.state == "running"
    assert all(alive(pid) for pid in [status.pid, *children(file)])
    assert services.start(home, service, report=quiet) == []
    assert services.status(home)[0].pid == status.pid
    assert services.stop(home) == ["family"]
    assert not any(alive(pid) for pid in [status.pid, *children(file)])
    assert services.status(home) == []
    assert services.stop(home) == []


def test_one_that_does_not_listen_is_killed(home, family, monkeypatch):
    monkeypatch.setattr(services, "GRACE", 0.5)
    service, file = family(signals="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    services.start(home, service, report=quiet)
    pid = services.status(home)[0].pid
    assert services.stop(home) == ["family"]
    assert not any(alive(pid) for pid in [pid, *children(file)])


def test_children_of_a_killed_service_are_stopped_too(home, family):
    service, file = family()
    services.start(home, service, report=quiet)
    pid = services.status(home)[0].pid
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.05)
    (status,) = services.status(home)
    assert status.state == "ended"
    in_session, left_session = children(file)[:2], children(file)[2]
    assert services.stop(home) == ["family"]
    assert not any(alive(child) for child in in_session)
    os.kill(left_session, signal.SIGKILL)  # nothing ties it to the dead leader any more


def test_a_killed_service_is_started_anew_without_its_old_children(home, family):
    service, file = family()
    services.start(home, service, report=quiet)
    old = [services.status(home)[0].pid, *children(file)]
    os.kill(old[0], signal.SIGKILL)
    while alive(old[0]):
        time.sleep(0.05)
    file.unlink()
    assert services.start(home, service, report=quiet) == ["family"]
    assert not any(alive(pid) for pid in old[1:3])
    assert all(alive(pid) for pid in children(file))
    os.kill(old[3], signal.SIGKILL)


def test_a_pid_that_was_given_to_somebody_else_is_left_alone(home, family):
    service, _ = family()
    services.start(home, service, report=quiet)
    record = home.home / "run" / "family.pid"
    kept = json.loads(record.read_text())
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        # as if our process had ended and its number had come round again
        record.write_text(json.dumps({**kept, "pid": stranger.pid}))
        assert services.status(home)[0].state == "ended"
        assert services.stop(home) == []
        assert alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()
        record.write_text(json.dumps(kept))


def test_only_the_named_and_only_of_this_installation(home, family, tmp_path):
    other_home = Settings(home=tmp_path / "other")
    for settings, name in ((home, "one"), (home, "two"), (other_home, "three")):
        services.start(settings, family(name)[0], report=quiet)
    try:
        assert services.stop(home, "one") == ["one"]
        assert [status.name for status in services.status(home)] == ["two"]
        assert services.stop(home) == ["two"]
        assert services.status(other_home)[0].state == "running"
    finally:
        services.stop(other_home)


def test_one_that_ends_while_it_starts_is_told_with_its_log(home):
    code = "import sys; print('the configuration is wrong'); sys.exit(3)"
    broken = Service("broken", (sys.executable, "-c", code), dict(os.environ), lambda _: False)
    with pytest.raises(ServiceError, match=r"(?s)broken ended while it started.*the configuration is wrong"):
        services.start(home, broken, report=quiet)
    assert services.status(home) == []


def test_one_that_does_not_get_healthy_is_stopped_and_its_companions_too(home, family):
    fine, file = family("fine")
    slow, slow_file = family("slow", healthy=lambda _: False, within=6.0)
    told = []
    with pytest.raises(ServiceError, match=r"slow is not healthy after \d+ s. The end of its log"):
        services.start(home, fine, slow, report=told.append)
    assert told == ["slow: starting (5 s)"]
    assert services.status(home) == []
    assert not any(alive(pid) for pid in children(file) + children(slow_file))


def test_one_that_is_stuck_is_waited_for_and_not_started_twice(home, family):
    service, _ = family()
    services.start(home, service, report=quiet)
    sick, _ = family(healthy=lambda _: False, within=1.0)
    with pytest.raises(ServiceError, match="is not healthy"):
        services.start(home, sick, report=quiet)
    assert services.status(home)[0].state == "running"  # it was not this call that started it


def test_ports_are_kept_and_differ(home):
    first, second = services.port(home, "one"), services.port(home, "two")
    assert first != second
    assert first in services.PORTS
    assert services.port(home, "one") == first


def test_a_port_that_somebody_took_is_given_up(home):
    before = services.port(home, "one")
    with socket.socket() as somebody:
        somebody.bind((services.LOCALHOST, before))
        somebody.listen()
        assert services._port(home, "one", must_be_free=True) != before
    after = services.port(home, "one")
    assert services._port(home, "one", must_be_free=True) == after


def test_no_password_on_a_command_line_and_none_for_everybody_to_read(server):
    settings = server.settings
    secrets = [server.url("mlflow").password, server.url("airflow").password]
    secrets += [settings.secret(name) for name in ("mlflow_hrloop", "airflow_admin", "airflow_jwt")]
    made = [services.mlflow_service(settings, server)]
    made += [services.airflow_service(settings, server, name) for name in services.AIRFLOW]
    for service in made:
        assert not [s for s in secrets if s in " ".join(service.command)]
        assert service.environment["DO_NOT_TRACK"] == "true"
    assert made[0].environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    # MLflow has no business with the warehouse, nor with another room's secrets
    assert not [name for name in made[0].environment if name.startswith(("HRLOOP_", "DATABASE_URL"))]
    for name in ("run/mlflow-auth.ini", "airflow/passwords.json", "run/ports.json"):
        assert (settings.home / name).stat().st_mode & 0o077 == 0


def test_airflow_is_told_all_that_its_tasks_need(server, monkeypatch):
    monkeypatch.setenv("HRLOOP_SECRET_AUDIT_KEY", "given by the environment")
    given = services.airflow_environment(server.settings, server)
    assert given["HRLOOP_HOME"] == str(server.settings.home)
    assert given["HRLOOP_SECRET_AUDIT_KEY"] == "given by the environment"
    assert given["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert given["AIRFLOW__CORE__LOAD_EXAMPLES"] == "false"
    assert given["AIRFLOW__CORE__DAGS_FOLDER"] == str(server.settings.project / "dags")
    assert given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].endswith("/airflow")
    assert given == services.airflow_environment(server.settings, server)  # the same keys every time


@pytest.mark.slow
def test_mlflow_knows_its_users_and_nobody_else(server, mlflow_settings):
    server_url = services.mlflow_url(mlflow_settings)
    url = f"{server_url}/api/2.0/mlflow/users/current"
    for user in (services.SERVICE_ACCOUNT, services.OWNER, services.VIEWER):
        assert services._get(url, user, services.mlflow_password(mlflow_settings, user)).ok
        assert services._get(url, user, "password1234").status_code == 401
    assert services._get(url).status_code == 401
    assert services.start_mlflow(mlflow_settings, server, report=quiet) == services.mlflow_url(
        mlflow_settings
    )


def test_a_server_that_lets_anybody_type_an_approval_is_not_used(settings, server):
    """One without our registry store: it looks for the version, where ours refuses the tag."""

    class Plain(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(404 if self.path.endswith("model-versions/set-tag") else 200)
            self.end_headers()

        do_POST = do_PATCH = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((services.LOCALHOST, 0), Plain) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        url = f"http://{services.LOCALHOST}:{plain.server_port}"
        elsewhere = settings.model_copy(update={"mlflow_url": url})
        with pytest.raises(
            ServiceError, match=r"lets anybody type who approved .*MLFLOW_REGISTRY_STORE_URI=hr-"
        ):
            services.start_mlflow(elsewhere, server, report=quiet)
        plain.shutdown()
