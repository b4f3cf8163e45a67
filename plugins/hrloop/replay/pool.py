"""Many replays at once, each in a process of its own, on one embedded Postgres that is there for them alone.

What is on file stays on file: a call that was cut short goes on where it was, and what is finished is not
run again. Replays are kept under a digest of all that they follow from, so that figures of other code, other
declarations or another setting are never taken for these.
"""

import fcntl
import hashlib
import multiprocessing
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import text

from hrloop.replay import runs
from hrloop.replay.runs import Case, Setting
from hrloop.settings import Settings
from hrloop.warehouse import EmbeddedServer, drop, open_warehouse

# What the figures follow from: everything but how they are asked for and shown.
ENGINE = ("plugins/hrloop", "plugins/hrloop_mlflow", "dbt", "models", "expectations", "requirements.txt")
SHOWN = ("plugins/hrloop/cli", "plugins/hrloop/replay/report.py", "plugins/hrloop/replay/pool.py")
SUFFIXES = {".py", ".sql", ".yaml", ".yml", ".csv", ".txt"}
WORKING = "working"  # the file that every replay at work holds
POLL = 2.0  # seconds between two looks at how far the replays have come

Report = Callable[[str, int, int], None]  # what is being done, months lived through, months in all


class Busy(RuntimeError):
    """Another call replays in this installation."""


def folder_of(settings: Settings, setting: Setting) -> Path:
    """Where the replays of this setting by this code are kept."""
    follows_from = f"{sorted(asdict(setting).items())} {code_of(settings)}"
    return settings.home / "replay" / hashlib.sha256(follows_from.encode()).hexdigest()[:10]


def code_of(settings: Settings) -> str:
    """Ten digits that tell the code and the declarations that figures follow from, of whatever setting."""
    digest = hashlib.sha256()
    for path in _engine_files(settings.project):
        digest.update(f"{path.relative_to(settings.project)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def _engine_files(project: Path) -> list[Path]:
    files = [
        path
        for name in ENGINE
        for path in ([project / name] if (project / name).is_file() else (project / name).rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    ]
    shown = [project / name for name in SHOWN]
    return sorted(path for path in files if not any(path.is_relative_to(one) for one in shown))


def replay_all(
    settings: Settings, setting: Setting, cases: Sequence[Case], workers: int, report: Report
) -> dict[str, str]:
    """Replay every case to its end, and return what failed: name → traceback.

    One that fails holds up no other. Raises Busy when another call replays in this installation, or replays
    of one that was killed still run.
    """
    folder = folder_of(settings, setting)
    missing = [case for case in cases if runs.lived(folder / case.name) < setting.months]
    total = len(cases) * setting.months

    def tell(what: str) -> None:
        report(what, sum(runs.lived(folder / case.name) for case in cases), total)

    if not missing:
        tell("everything is on file")
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    # Replays share the cores: a library that takes all of them would only be in the others' way.
    os.environ.update(OMP_NUM_THREADS="1", DO_NOT_TRACK="true", GX_ANALYTICS_ENABLED="false")
    with _alone(settings), _server(settings, folder.name) as root, _processes(workers) as pool:
        failed = _do(pool, [("prepare", _prepare, (root, setting, folder))], folder, tell)
        pasts = sorted({(case.scenario, case.seed) for case in missing})
        todo = [
            (place.name, _write_past, (root, setting, scenario, seed, place))
            for scenario, seed in pasts
            if not ((place := folder / f"past-{scenario}-{seed}") / "written").exists()
        ]
        failed |= _do(pool, todo, folder, tell) if not failed else {}
        ready = [case for case in missing if not failed.keys() & {"prepare", _past_of(case)}]
        todo = [
            (case.name, _replay, (root, setting, case, folder / _past_of(case), folder / case.name))
            for case in ready
        ]
        failed |= _do(pool, todo, folder, tell)
        if not failed:
            for scenario, seed in pasts:
                drop(open_warehouse(root), runs.database_of(folder / f"past-{scenario}-{seed}"))
                shutil.rmtree(folder / f"past-{scenario}-{seed}")
    return failed


def _past_of(case: Case) -> str:
    return f"past-{case.scenario}-{case.seed}"


def _do(pool: ProcessPoolExecutor, todo: list, folder: Path, tell: Callable[[str], None]) -> dict[str, str]:
    """Do all of these (name, function, arguments), and return what failed."""
    names: dict[Future, str] = {
        pool.submit(_logged, folder / "logs" / f"{name}.log", function, arguments): name
        for name, function, arguments in todo
    }
    failed, waiting = {}, set(names)
    while waiting:
        done, waiting = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
        for future in done:
            if error := future.exception():
                failed[names[future]] = "".join(traceback.format_exception(error))
        tell(", ".join(sorted(names[future] for future in waiting if future.running())))
    return failed


# --- in a process of its own -----------------------------------------------------------------------------


def _logged(log: Path, function: Callable, arguments: tuple) -> None:
    """Call a function with all that is printed, by libraries too, at the end of a file.

    As long as it runs, even when the call that asked for it is killed, no other call begins.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    with _locked(log.parents[2] / WORKING, fcntl.LOCK_SH):
        function(*arguments)


def _prepare(root: Settings, setting: Setting, folder: Path) -> None:
    runs.forget_lost(open_warehouse(root), setting, folder)
    runs.prepare(open_warehouse(root), folder)


def _write_past(root: Settings, setting: Setting, scenario: str, seed: int, folder: Path) -> None:
    runs.write_past(open_warehouse(root), setting, scenario, seed, folder)


def _replay(root: Settings, setting: Setting, case: Case, past: Path, folder: Path) -> None:
    runs.replay(open_warehouse(root), setting, case, past, folder)


# --- what they share -------------------------------------------------------------------------------------


@contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that runs each job in a process of its own, forked from one that has read the engine in."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hrloop.replay.runs", "hrloop.quality.validation", "hrloop.transform"])
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        yield pool


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    with _locked(settings.home / "replay" / "lock", fcntl.LOCK_EX):
        with _locked(settings.home / "replay" / WORKING, fcntl.LOCK_EX):
            pass  # nobody works for a call that was killed
        yield


@contextmanager
def _locked(path: Path, manner: int) -> Iterator[None]:
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, manner | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"{path.parent} is in use: another replay runs; wait for its end") from error
        yield


@contextmanager
def _server(settings: Settings, digest: str) -> Iterator[Settings]:
    """The settings of the replays' installation, whose Postgres runs; databases of other code go first."""
    home = settings.home / "replay" / "installation"
    root = settings.model_copy(update={"home": home, "landing_dir": None, "database_url": None})
    warehouse = open_warehouse(root)
    try:
        with warehouse.engine("admin").connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            # A commit that waits for the disk takes milliseconds, and a month makes a thousand. A replay
            # waits once for all of them, before it puts the month on file.
            connection.execute(text("alter system set synchronous_commit = off"))
            connection.execute(text("select pg_reload_conf()"))
            there = connection.scalars(
                text("select datname from pg_database where datname like 'replay\\_%'")
            ).all()
        for name in there:
            if not name.startswith(f"replay_{digest}_"):
                drop(warehouse, name)
        warehouse.dispose()
        yield root
    finally:
        warehouse.dispose()
        EmbeddedServer.of(root).stop()
