"""The long-running processes of an installation: started, watched, and stopped with all their children.

MLflow's server and Airflow's components run as processes of their own, each the leader of a session, so
that everything a component starts can be found again and nothing else is ever signalled. What runs is
remembered in ``home/run/<name>.pid`` as pid *and* start time: a pid that the system has given to another
process meanwhile is not ours. Logs go to ``home/logs/<name>.log``. Everything listens on 127.0.0.1, on a
port that was free when it was chosen and is kept in ``home/run/ports.json``. No password stands on a
command line, where any user of the machine could read it: they go by environment or 0600 files.

Linux only: processes are looked up in ``/proc``.
"""

import base64
import fcntl
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import hrloop_mlflow
import requests

from hrloop.settings import Settings
from hrloop.warehouse import Warehouse
from hrloop.warehouse.server import tail

LOCALHOST = "127.0.0.1"
# Below Linux's ephemeral range (from 32768), so that no outgoing connection sits on a port we return to.
PORTS = range(20_000, 30_000)
GRACE = 20.0  # seconds to end in good order after SIGTERM; Airflow's scheduler takes up to ten
SERVICE_ACCOUNT, OWNER, VIEWER = "hrloop", "owner", "viewer"  # users of the MLflow server
WEBHOOK = "hrloop-approvals"  # its name in MLflow
WEBHOOK_PATH = "/hr-webhook/approvals"  # of the endpoint in Airflow, see hrloop_webhook
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")

Report = Callable[[str], None]


class ServiceError(RuntimeError):
    """A service did not start, or ended by itself; the message holds the end of its log and a remedy."""


@dataclass(frozen=True)
class Service:
    """A process to run: its command, its whole environment, and how to see that it works.

    ``healthy`` is given the time at which the process was started, so that a heartbeat left in a database
    by its predecessor does not count.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    healthy: Callable[[datetime], bool]
    within: float = 180.0  # seconds; on two busy cores Airflow takes 40, MLflow 15


@dataclass(frozen=True)
class Status:
    """What is known of a service: ``running``, or ``ended`` when it went away by itself."""

    name: str
    pid: int
    state: str
    started_at: datetime


@dataclass(frozen=True)
class Access:
    """A page to open and a user to log in as."""

    name: str
    url: str
    user: str
    password: str


# --- processes -------------------------------------------------------------------------------------------


def start(settings: Settings, *services: Service, report: Report = print) -> list[str]:
    """Start those that do not run, wait until all are healthy, and return the names of the started ones.

    Raises ServiceError when one ends or is not healthy in time; what this call started is stopped again.
    """
    begun: list[str] = []
    with _locked(settings):
        try:
            for service in services:
                if _running(settings, service.name):
                    continue
                _end(settings, service.name)  # children left behind by one that was killed
                _spawn(settings, service)
                begun.append(service.name)
            for service in services:
                _await(settings, service, report)
        except BaseException:
            _end(settings, *begun)
            raise
    return begun


def stop(settings: Settings, *names: str) -> list[str]:
    """Stop these services, or all that were started, children included; return the names of the stopped.

    Each gets SIGTERM and time to end in good order, what is left of it then SIGTERM, and SIGKILL last.
    Airflow goes before MLflow, which its tasks use.
    """
    with _locked(settings):
        known = sorted(record.stem for record in _folder(settings).glob("*.pid"))
        chosen = [name for name in known if not names or name in names]
        users = [name for name in chosen if name in AIRFLOW]
        return _end(settings, *users) + _end(settings, *(name for name in chosen if name not in users))


def status(settings: Settings) -> list[Status]:
    """The services that were started and not stopped, by name."""
    found = []
    for path in sorted(_folder(settings).glob("*.pid")):
        record = _record(settings, path.stem)
        if record:
            state = "running" if _running(settings, path.stem) else "ended"
            found.append(
                Status(path.stem, record["pid"], state, datetime.fromtimestamp(record["started"], UTC))
            )
    return found


def _spawn(settings: Settings, service: Service) -> None:
    log = _log(settings, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            service.command,
            env=dict(service.environment),
            cwd=_folder(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    _write(
        _pid_file(settings, service.name),
        {"pid": process.pid, "identity": _identity(process.pid), "started": time.time()},
    )


def _await(settings: Settings, service: Service, report: Report) -> None:
    record = _record(settings, service.name)
    started_at = datetime.fromtimestamp(record["started"], UTC)
    began = told = time.monotonic()
    while True:
        ended = not _running(settings, service.name)
        if not ended and service.healthy(started_at):
            return
        waited = time.monotonic() - began
        if ended or waited > service.within:
            what = "ended while it started" if ended else f"is not healthy after {waited:.0f} s"
            log = _log(settings, service.name)
            raise ServiceError(f"{service.name} {what}. The end of its log ({log}):\n{tail(log, 30)}")
        if time.monotonic() - told >= 5:
            told = time.monotonic()
            report(f"{service.name}: starting ({waited:.0f} s)")
        time.sleep(0.2)


def _end(settings: Settings, *names: str) -> list[str]:
    """Stop services and their families together; return the names of those of which anything still ran."""
    records = {name: record for name in names if (record := _record(settings, name))}
    families = {name: _family(record) for name, record in records.items()}
    leaders = {record["pid"]: record["identity"] for record in records.values()}
    for pid, identity in leaders.items():  # the leaders first: they end their children in good order
        _signal(pid, identity, signal.SIGTERM)
    _wait_for(leaders, GRACE)
    for name, record in records.items():
        families[name] |= _family(record)  # what was born while we waited
    left = _merged(families)
    for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0)):
        for pid, identity in left.items():
            _signal(pid, identity, number)
        if _wait_for(left, patience):
            break
    else:
        stuck = sorted(pid for pid, identity in left.items() if _identity(pid) == identity)
        raise ServiceError(f"processes of {', '.join(records)} do not end: {stuck}; look at them with ps")
    for name, record in records.items():
        process = _children.pop(record["pid"], None)
        if process:
            process.wait()
        _pid_file(settings, name).unlink(missing_ok=True)
    return [name for name, family in families.items() if family]


def _merged(families: Mapping[str, Mapping[int, str]]) -> dict[int, str]:
    return {pid: identity for family in families.values() for pid, identity in family.items()}


def _signal(pid: int, identity: str, number: int) -> None:
    if _identity(pid) == identity:
        with suppress(ProcessLookupError):  # it ended this very moment
            os.kill(pid, number)


def _wait_for(family: Mapping[int, str], seconds: float) -> bool:
    """Whether all of them have ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while any(_identity(pid) == identity for pid, identity in family.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _family(record: Mapping) -> dict[int, str]:
    """pid → identity of a service's leader and all that descends from it or shares its session.

    When the leader is gone, its session is still ours: Linux gives no process a pid that is in use as the
    id of a session. Only if everything of ours had ended could the number have come back, as somebody
    else's leader, who would have to have died as well; therefore children of a dead leader must besides be
    processes of this same interpreter.
    """
    leader, identity = record["pid"], record["identity"]
    alive = _identity(leader)
    if alive and alive != identity:
        return {}
    everyone = _processes()
    members = {pid for pid, (_, session) in everyone.items() if session == leader}
    if not alive:
        members = {pid for pid in members if _program(pid) == os.path.realpath(sys.executable)}
    while True:  # children that opened a session of their own
        more = {pid for pid, (parent, _) in everyone.items() if parent in members} - members
        if not more:
            break
        members |= more
    found = {pid: _identity(pid) for pid in members}
    return {pid: identity for pid, identity in found.items() if identity}


def _processes() -> dict[int, tuple[int, int]]:
    """pid → (parent, session) of every process of the machine."""
    found = {}
    for entry in os.listdir("/proc"):
        fields = _stat(int(entry)) if entry.isdigit() else None
        if fields:
            found[int(entry)] = (int(fields[1]), int(fields[3]))
    return found


def _identity(pid: int) -> str | None:
    """Boot and start time of a living process; None when there is none, or only its zombie."""
    process = _children.get(pid)
    if process:
        process.poll()  # a child of ours that ended would stay a zombie
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {fields[19]}"


def _stat(pid: int) -> list[str] | None:
    """Fields of ``/proc/<pid>/stat`` from the third (state) on; see proc_pid_stat(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _program(pid: int) -> str | None:
    try:
        return os.path.realpath(f"/proc/{pid}/exe")
    except OSError:
        return None


_children: dict[int, subprocess.Popen] = {}


def _running(settings: Settings, name: str) -> bool:
    record = _record(settings, name)
    return record is not None and _identity(record["pid"]) == record["identity"]


# --- files of the installation ---------------------------------------------------------------------------


def port(settings: Settings, name: str) -> int:
    """The port of a service: the one chosen before, else a free one, which is kept."""
    return _port(settings, name, must_be_free=False)


def _port(settings: Settings, name: str, must_be_free: bool) -> int:
    memory = _folder(settings) / "ports.json"
    with open(memory.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        chosen = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
        if name not in chosen or (must_be_free and not _free(chosen[name])):
            candidates = random.sample(PORTS, 200)
            chosen[name] = next(n for n in candidates if n not in chosen.values() and _free(n))
            _write(memory, chosen)
    return chosen[name]


def _free(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, number))
        except OSError:
            return False
    return True


def _folder(settings: Settings) -> Path:
    folder = settings.home / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _pid_file(settings: Settings, name: str) -> Path:
    return _folder(settings) / f"{name}.pid"


def _record(settings: Settings, name: str) -> dict | None:
    path = _pid_file(settings, name)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _log(settings: Settings, name: str) -> Path:
    return settings.home / "logs" / f"{name}.log"


def _write(path: Path, content: object) -> None:
    """Write JSON so that the file is there whole, readable by its owner alone, or as it was before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One start or stop of this installation at a time."""
    with open(_folder(settings) / "lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- what every child is told ----------------------------------------------------------------------------


def _inherited() -> dict[str, str]:
    """This process's environment without our secrets, which each service is given by name instead."""
    ours = ("HRLOOP_SECRET_", "DATABASE_URL", "MLFLOW_", "AIRFLOW_", "_MLFLOW", "_AIRFLOW")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    binaries = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false",
    }


def _settings_environment(settings: Settings) -> dict[str, str]:
    """The variables from which a child process reads these same settings and secrets."""
    given = {
        f"HRLOOP_{field.upper()}": str(getattr(settings, field))
        for field in type(settings).model_fields
        if field != "database_url" and getattr(settings, field) is not None
    }
    if settings.database_url:
        given["DATABASE_URL"] = settings.database_url.get_secret_value()
    secrets = {name: value for name, value in os.environ.items() if name.startswith("HRLOOP_SECRET_")}
    return given | secrets


def _fernet(secret: str) -> str:
    """A key for Fernet, which wants 32 bytes in URL-safe base64, out of a secret of any length."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).decode()


def _get(url: str, user: str | None = None, password: str | None = None) -> requests.Response | None:
    """GET on this machine, past any proxy; None when nobody answers."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, auth=(user, password) if user else None, timeout=10)
        except requests.RequestException:
            return None


# --- MLflow ----------------------------------------------------------------------------------------------


def mlflow_url(settings: Settings) -> str:
    """Where the MLflow server is, whether it runs or not."""
    return settings.mlflow_url or f"http://{LOCALHOST}:{port(settings, 'mlflow')}"


def mlflow_password(settings: Settings, user: str) -> str:
    """The generated password of a user of the MLflow server."""
    return settings.secret(f"mlflow_{user}")


def start_mlflow(settings: Settings, wh: Warehouse, report: Report = print) -> str:
    """Start the MLflow server unless it runs, make its users, and return its URL.

    Where ``HRLOOP_MLFLOW_URL`` names a server, that one is used, and only its users are made. Raises
    ServiceError when it does not start, does not know the service account's password, or lets anybody type
    who approved a version.
    """
    if not settings.mlflow_url:
        if not _running(settings, "mlflow"):
            _port(settings, "mlflow", must_be_free=True)
        start(settings, mlflow_service(settings, wh), report=report)
    _make_mlflow_users(settings)
    return mlflow_url(settings)


def mlflow_service(
    settings: Settings, wh: Warehouse, host: str = LOCALHOST, number: int | None = None
) -> Service:
    """MLflow's server behind basic auth: data and users in Postgres, artefacts under ``home``."""
    database = wh.url("mlflow").render_as_string(hide_password=False)
    users = settings.home / "run" / "mlflow-auth.ini"
    _folder(settings)
    with os.fdopen(os.open(users, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(
            "[mlflow]\ndefault_permission = READ\n"
            f"database_uri = {database.replace('%', '%%')}\n"  # configparser interpolates %
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            # Otherwise each request costs a PBKDF2 of 0.1 to 0.4 s. With one worker, a password changed
            # through the server counts at once.
            "auth_cache_ttl_seconds = 60\n"
        )
    number = number or port(settings, "mlflow")
    environment = _inherited() | {
        "MLFLOW_BACKEND_STORE_URI": database,
        # The same database, through the plugin that knows who approved and lets nobody else move an alias.
        "MLFLOW_REGISTRY_STORE_URI": f"{hrloop_mlflow.PREFIX}{database}",
        "MLFLOW_AUTH_CONFIG_PATH": str(users),
        "MLFLOW_AUTH_ADMIN_USERNAME": SERVICE_ACCOUNT,
        "MLFLOW_AUTH_ADMIN_PASSWORD": mlflow_password(settings, SERVICE_ACCOUNT),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.secret("mlflow_sessions"),
        # By default a new one at each start, and then no webhook of before can be read, nor removed.
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _fernet(settings.secret("mlflow_fernet")),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nothing here uses it; halves boot and memory
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    if settings.approval_webhook:
        environment |= {
            # Airflow is on this machine or in this network, where MLflow's protection from requests to inside
            # addresses (SSRF) would refuse to go. Webhooks are the service account's alone to make.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_CACHE_TTL": "0",  # a webhook that was made or removed counts at once
        }
    command = (
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--serve-artifacts",
        "--artifacts-destination", str(settings.home / "artifacts"),
        "--host", host, "--port", str(number), "--workers", "1",
    )  # fmt: skip

    def healthy(_: datetime) -> bool:
        answer = _get(f"http://{LOCALHOST}:{number}/health")
        return answer is not None and answer.ok

    return Service("mlflow", command, environment, healthy)


def _make_mlflow_users(settings: Settings) -> None:
    """The owner, who may approve a version by its tags, and the viewer, who may look."""
    base = f"{mlflow_url(settings)}/api/2.0/mlflow"
    admin = (SERVICE_ACCOUNT, mlflow_password(settings, SERVICE_ACCOUNT))
    with requests.Session() as session:
        session.trust_env, session.auth = False, admin

        def call(method: str, path: str, **content) -> requests.Response:
            where = {"params": content} if method == "GET" else {"json": content}
            answer = session.request(method, f"{base}/{path}", timeout=30, **where)
            if answer.status_code == requests.codes.unauthorized:
                raise ServiceError(
                    f"the MLflow server at {mlflow_url(settings)} does not know the password of"
                    f" {SERVICE_ACCOUNT!r}: its users were made with other secrets. Give the former"
                    " password as HRLOOP_SECRET_MLFLOW_HRLOOP, or empty the users table of the database"
                    " mlflow and start again"
                )
            return answer

        for user in (OWNER, VIEWER):
            password = mlflow_password(settings, user)
            if call("GET", "users/get", username=user).status_code == requests.codes.not_found:
                call("POST", "users/create", username=user, password=password).raise_for_status()
            elif not mlflow_knows(settings, user, password):
                call("PATCH", "users/update-password", username=user, password=password).raise_for_status()
        # Tags of a version, and through them an approval; no alias, no model, no run.
        grant = {"resource_type": "registered_model_version", "resource_id": "*", "permission": "EDIT"}
        where = f"{mlflow_url(settings)}/api/3.0/mlflow/users/permissions/grant"
        answer = session.post(where, json={"username": OWNER, **grant}, timeout=30)
        if "RESOURCE_ALREADY_EXISTS" not in answer.text:  # granted before
            answer.raise_for_status()
        # A version that cannot be: without the plugin it would be looked for, and not be found.
        typed = {"name": "none", "version": "1", "key": "approval.by", "value": OWNER}
        answer = call("POST", "model-versions/set-tag", **typed)
        if answer.status_code != requests.codes.forbidden:
            raise ServiceError(
                f"the MLflow server at {mlflow_url(settings)} lets anybody type who approved a version: start"
                f" it with MLFLOW_REGISTRY_STORE_URI={hrloop_mlflow.PREFIX}postgresql+psycopg2://…, where"
                " hrloop is installed"
            )


def mlflow_knows(settings: Settings, user: str, password: str) -> bool:
    """Whether the MLflow server answers this user with this password."""
    url = f"{mlflow_url(settings)}/api/2.0/mlflow/users/current"
    answer = _get(url, user, password)
    return answer is not None and answer.ok


def keep_webhook(settings: Settings) -> None:
    """Make the webhook by which MLflow tells Airflow of approvals, and try it; switched off, remove it.

    Both servers must run. Raises ServiceError when MLflow refuses it, or Airflow does not take what it sends.
    """
    base = f"{mlflow_url(settings)}/api/2.0/mlflow/webhooks"
    remedy = "Stop both, and start them with the same HRLOOP_APPROVAL_WEBHOOK and secrets"
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (SERVICE_ACCOUNT, mlflow_password(settings, SERVICE_ACCOUNT))

        def call(method: str, path: str = "", **content) -> dict:
            answer = session.request(method, f"{base}{path}", timeout=180, **content)
            if not answer.ok:
                raise ServiceError(
                    f"MLflow ({mlflow_url(settings)}) refuses the webhook {WEBHOOK}: {answer.text}. {remedy}"
                )
            return answer.json()

        found = call("GET", params={"max_results": 1000}).get("webhooks", [])
        paths = [f"/{one['webhook_id']}" for one in found if one["name"] == WEBHOOK]
        if not settings.approval_webhook:
            for path in paths:
                call("DELETE", path)
            return
        wanted = {
            "name": WEBHOOK,
            "url": f"{settings.airflow_url or airflow_url(settings)}{WEBHOOK_PATH}",
            "events": [{"entity": "MODEL_VERSION_TAG", "action": "SET"}],
            "secret": settings.secret("mlflow_webhook"),
            "status": "ACTIVE",
        }
        if paths:
            call("PATCH", paths[0], json=wanted)
        else:
            paths = [f"/{call('POST', json=wanted)['webhook']['webhook_id']}"]
        tried = call("POST", f"{paths[0]}/test", json={})["result"]
    if not tried.get("success"):
        why = tried.get("error_message") or f"{tried['response_status']} {tried.get('response_body', '')}"
        raise ServiceError(f"Airflow does not take what MLflow sends to {wanted['url']}: {why}. {remedy}")


# --- Airflow ---------------------------------------------------------------------------------------------


def airflow_url(settings: Settings) -> str:
    """Where Airflow's page is, whether it runs or not."""
    return f"http://{LOCALHOST}:{port(settings, 'airflow')}"


def airflow_environment(settings: Settings, wh: Warehouse, host: str = LOCALHOST) -> dict[str, str]:
    """What Airflow reads its configuration from: LocalExecutor, metadata in Postgres, our folders.

    The same for the running components and for ``dag.test()`` in one process. Also writes the file of
    the one user's password.
    """
    home = settings.home / "airflow"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = home / "passwords.json"
    _write(passwords, {"admin": settings.secret("airflow_admin")})
    url = airflow_url(settings)
    number = port(settings, "airflow")
    given = {
        "CORE__DAGS_FOLDER": settings.project / "dags",
        "CORE__PLUGINS_FOLDER": settings.project / "plugins",
        "CORE__LOAD_EXAMPLES": "false",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",  # a forked task holds about 200 MB
        "CORE__DEFAULT_TIMEZONE": "utc",
        "CORE__FERNET_KEY": _fernet(settings.secret("airflow_fernet")),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": wh.url("airflow").render_as_string(hide_password=False),
        "API__HOST": host,
        "API__PORT": number,
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": settings.secret("airflow_api"),
        "API__EXPOSE_CONFIG": "false",
        "API_AUTH__JWT_SECRET": settings.secret("airflow_jwt"),
        "LOGGING__BASE_LOG_FOLDER": settings.home / "logs" / "airflow",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "USAGE_DATA_COLLECTION__ENABLED": "false",
        "COSMOS__ENABLE_TELEMETRY": "false",
        "COSMOS__CACHE_DIR": home / "cosmos",  # by default one below /tmp, which the first user would own
    }
    return (
        _settings_environment(settings)
        | {"AIRFLOW_HOME": str(home), "DO_NOT_TRACK": "true", "GX_ANALYTICS_ENABLED": "false"}
        | {f"AIRFLOW__{name}": str(value) for name, value in given.items()}
    )


def migrate_airflow(settings: Settings, wh: Warehouse) -> None:
    """Bring Airflow's metadata database up to its version. Raises ServiceError with the log's end."""
    log = _log(settings, "airflow-migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with _locked(settings), open(log, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=_inherited() | airflow_environment(settings, wh),
            cwd=_folder(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise ServiceError(f"airflow db migrate failed. The end of its log ({log}):\n{tail(log, 30)}")


def start_airflow(settings: Settings, wh: Warehouse, report: Report = print) -> str:
    """Start Airflow's components unless they run, and return the URL of its page.

    Raises ServiceError when the database cannot be migrated, or a component does not start.
    """
    if all(_running(settings, name) for name in AIRFLOW):
        return airflow_url(settings)
    if not _running(settings, AIRFLOW[0]):
        before = port(settings, "airflow")
        if _port(settings, "airflow", must_be_free=True) != before:
            stop(settings, *AIRFLOW)  # those still running would ask at the old port
    migrate_airflow(settings, wh)
    start(settings, *(airflow_service(settings, wh, name) for name in AIRFLOW), report=report)
    return airflow_url(settings)


def airflow_service(settings: Settings, wh: Warehouse, name: str, host: str = LOCALHOST) -> Service:
    """One of AIRFLOW's components. Log files are shared, so none serves its logs on a port."""
    component = name.removeprefix("airflow-")
    arguments = ("--skip-serve-logs",) if component in ("scheduler", "triggerer") else ()

    def healthy(started_at: datetime) -> bool:
        answer = _get(f"{airflow_url(settings)}/api/v2/monitor/health")
        if answer is None or not answer.ok:
            return False
        if component == "api-server":
            return True
        part = component.replace("-", "_")
        beat = answer.json()[part][f"latest_{part}_heartbeat"]
        return beat is not None and datetime.fromisoformat(beat) > started_at

    return Service(
        name,
        (sys.executable, "-m", "airflow", component, *arguments),
        _inherited() | airflow_environment(settings, wh, host),
        healthy,
    )


# --- all of it -------------------------------------------------------------------------------------------


def start_all(settings: Settings, wh: Warehouse, report: Report = print) -> list[Access]:
    """Start MLflow and Airflow, have the one tell the other of approvals or not, and say where they are."""
    start_mlflow(settings, wh, report)
    start_airflow(settings, wh, report)
    keep_webhook(settings)
    return access(settings)


def access(settings: Settings) -> list[Access]:
    """Every page with its users and their generated passwords."""
    users = (SERVICE_ACCOUNT, OWNER, VIEWER)
    return [
        Access("Airflow", airflow_url(settings), "admin", settings.secret("airflow_admin")),
        *(Access("MLflow", mlflow_url(settings), u, mlflow_password(settings, u)) for u in users),
    ]
