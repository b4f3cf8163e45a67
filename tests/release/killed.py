"""Promotes or rolls back in processes of its own, each killed with SIGKILL one write further than the last.

    python killed.py HOME DATABASE_URL DATABASE MLFLOW_URL promote|rollback

A write is a request to MLflow or a statement to Postgres that changes something: before the n-th of them the
n-th process dies, and the last one gets through. (Between two writes nothing changes, so to die at any read
there is the same.) After each, a fresh process says as a line of JSON what ledger, alias and scoring hold;
then all is put back to where it was before.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import requests
from hrloop import release, usecase
from hrloop.settings import PROJECT, Settings
from hrloop.warehouse import Warehouse
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

AS_OF = datetime(2026, 11, 1, 6, tzinfo=UTC)
NAME = "small_case"


def main(home: str, database_url: str, database: str, mlflow_url: str, what: str) -> None:
    settings = Settings(home=Path(home), mlflow_url=mlflow_url)
    use_case = usecase.load("recruitment", PROJECT).model_copy(update={"name": NAME})

    def alone(do: Callable) -> int:
        """Do it in a process of its own; this one opens nothing, so that its forks share nothing."""
        child = os.fork()
        if child == 0:
            do(Warehouse.at(database_url, settings, database), release.connect(settings), use_case)
            os._exit(0)
        return os.waitpid(child, 0)[1]

    for step in range(1, 20):

        def act(wh, registry, use_case, step=step):
            die_before(step)
            if what == "promote":
                release.promote(wh, registry, use_case, 2, AS_OF)
            else:
                release.rollback(wh, registry, use_case, "Ada", "Complaints.", AS_OF, version=2)

        status = alone(act)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and status != 0:
            raise SystemExit(f"step {step}: the process ended with {status}, and was not killed")
        if alone(lambda *loop, killed=killed: tell(killed, *loop)) or alone(
            lambda *loop: put_back(what, *loop)
        ):
            raise SystemExit(f"after step {step} nobody could score")
        if not killed:
            return


def tell(killed: bool, wh: Warehouse, registry: release.Registry, use_case: usecase.UseCase) -> None:
    served = release.serving(wh, registry, use_case)
    rows = release.read(wh, NAME)
    told = {
        "killed": killed,
        "ledger": release.standing(rows).champion,
        "rows": [row.kind for row in rows],
        "scored_by": served.version,
        "moved": len(served.repaired),
        "aliases": registry.aliases(NAME),
    }
    print(json.dumps(told), flush=True)


def put_back(what: str, wh: Warehouse, registry: release.Registry, use_case: usecase.UseCase) -> None:
    """Forget what was done at AS_OF, which only a test may."""
    with wh.engine("admin").begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))  # no trigger, no key
        notes = "delete from loop.change_notes using loop.releases where"
        same = "loop.change_notes.release_id = loop.releases.release_id and as_of = :as_of"
        connection.execute(text(f"{notes} {same}"), {"as_of": AS_OF})
        connection.execute(text("delete from loop.releases where as_of = :as_of"), {"as_of": AS_OF})
    if what == "promote":
        registry.set_alias(NAME, "challenger", 2)
    release.reconcile(wh, registry, use_case)


def die_before(step: int) -> None:
    """From now on count what is written, and die before this write."""
    done = 0
    send = requests.Session.send

    def count(write: bool) -> None:
        nonlocal done
        done += write
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(session, request, **options):
        count(request.method != "GET")
        return send(session, request, **options)

    def counted_statement(_connection, _cursor, statement, *_):
        count(not statement.lstrip().lower().startswith("select"))

    requests.Session.send = counted
    event.listen(Engine, "before_cursor_execute", counted_statement)


if __name__ == "__main__":
    main(*sys.argv[1:])
