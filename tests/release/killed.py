"""Promotes or rolls back in processes of its own, each killed with SIGKILL one step further than the last.

    python killed.py HOME DATABASE_URL DATABASE MLFLOW_URL promote|rollback

A step is a request to MLflow or a statement to Postgres: before the n-th of them the n-th process dies. The
last one gets through. After each it says, as a line of JSON, what ledger, alias and scoring hold.
"""

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import requests
from hrloop import release, usecase
from hrloop.settings import PROJECT, Settings
from hrloop.warehouse import Warehouse
from sqlalchemy import event
from sqlalchemy.engine import Engine

AS_OF = datetime(2026, 11, 1, 6, tzinfo=UTC)


def main(home: str, database_url: str, database: str, mlflow_url: str, what: str) -> None:
    settings = Settings(home=Path(home), mlflow_url=mlflow_url)
    use_case = usecase.load("recruitment", PROJECT).model_copy(update={"name": "small_case"})

    def loop() -> tuple:
        return Warehouse.at(database_url, settings, database), release.connect(settings), use_case

    for step in range(1, 200):
        child = os.fork()
        if child == 0:
            die_before(step)
            act(what, *loop())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and status != 0:
            raise SystemExit(f"step {step}: the process ended with {status}, and was not killed")
        reader = os.fork()  # a fresh process, as the next reader would be
        if reader == 0:
            print(json.dumps({"step": step, "killed": killed, **state(*loop())}), flush=True)
            os._exit(0)
        if os.waitpid(reader, 0)[1] != 0:
            raise SystemExit(f"after step {step} nobody could score")
        if not killed:
            return


def act(what: str, wh: Warehouse, registry: release.Registry, use_case: usecase.UseCase) -> None:
    if what == "promote":
        release.promote(wh, registry, use_case, 2, AS_OF)
    else:
        release.rollback(wh, registry, use_case, "Ada", "Complaints.", AS_OF, version=2)


def state(wh: Warehouse, registry: release.Registry, use_case: usecase.UseCase) -> dict:
    scored_by, _, moved = release.serving(wh, registry, use_case)
    rows = release.read(wh, use_case.name)
    return {
        "ledger": release.standing(rows).champion,
        "kinds": [row.kind for row in rows],
        "scored_by": scored_by,
        "moved": moved,
        "aliases": registry.aliases(use_case.name),
    }


def die_before(step: int) -> None:
    """From now on count requests and statements, and die before this one."""
    done = 0
    send = requests.Session.send

    def count(*_, **__) -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(*arguments, **options):
        count()
        return send(*arguments, **options)

    requests.Session.send = counted
    event.listen(Engine, "before_cursor_execute", count)


if __name__ == "__main__":
    main(*sys.argv[1:])
