"""The rhythms of the loop: each step a function of (loop, use case, ``as_of``), kept in ``loop.steps``.

DAGs, the command line and replay call these same functions. A step may be run again at any time: it takes
a lock, begins anew, and leaves what one run leaves.

Rooms are imported by the step that needs them: each task of a DAG is a process of its own, and reading files
in must not wait until MLflow and dbt are loaded (seconds each).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from hrloop import settings as environment
from hrloop import usecase
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse, open_warehouse, steps
from hrloop.warehouse.steps import EVERY_USE_CASE

if TYPE_CHECKING:
    from hrloop.release import Registry


class Refused(ValueError):
    """A verdict against going on at this ``as_of``: trying again without a change would end the same.

    A ValueError, as are the refusals of the other rooms: DAGs do not retry these, and retry all else.

    ``summary`` is what goes on record in ``loop.steps``.
    """

    def __init__(self, message: str, summary: dict | None = None):
        super().__init__(message)
        self.summary = summary or {"reason": message}


class Loop:
    """What the steps work with. Warehouse and registry are opened when first asked for."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse | None = None, registry: "Registry | None" = None
    ):
        self.settings = settings
        self._warehouse = warehouse
        self._registry = registry

    @classmethod
    def open(cls) -> "Loop":
        """The loop of this process's environment."""
        return cls(environment.load())

    @property
    def warehouse(self) -> Warehouse:
        if self._warehouse is None:
            self._warehouse = open_warehouse(self.settings)
        return self._warehouse

    @property
    def registry(self) -> "Registry":
        if self._registry is None:
            from hrloop.release import connect

            self._registry = connect(self.settings)
        return self._registry

    def use_cases(self) -> dict[str, usecase.UseCase]:
        """The declared use cases by name. Raises UseCaseError when one is bad, or when there is none."""
        return usecase.load_all(self.settings.project)

    def use_case(self, name: str) -> usecase.UseCase:
        """One declaration. Raises UseCaseError when it is missing or bad."""
        return usecase.load(name, self.settings.project)


@contextmanager
def locked(loop: Loop, name: str) -> Iterator[Connection]:
    """Hold a lock that one at a time can hold, in whatever process; it dies with its holder.

    Yields the connection that holds it, on which each statement is a transaction of its own.
    """
    lock = {"name": f"hrloop {name}"}
    engine = loop.warehouse.engine("engine")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(hashtextextended(:name, 0))"), lock)
        try:
            yield connection
        finally:
            connection.execute(text("select pg_advisory_unlock(hashtextextended(:name, 0))"), lock)


@contextmanager
def recorded(
    loop: Loop, step: str, as_of: datetime, use_case: str = EVERY_USE_CASE, alone: str | None = None
) -> Iterator[dict]:
    """Run a step on record: yields the summary to fill, and writes it to ``loop.steps`` at the end.

    Steps that name the same ``alone`` (default: the same step and use case) never run at the same time, in
    whatever process. A refusal (ValueError) leaves the state ``failed``. Any other error, and ``kill -9``,
    leaves ``running``: the step is pending and the next sweep takes it up.
    """
    summary: dict = {}
    with locked(loop, alone or f"{step} {use_case}") as connection:
        try:
            steps.start(connection, step, use_case, as_of)
            yield summary
            steps.finish(connection, step, use_case, as_of, summary)
        except ValueError as refusal:
            if not isinstance(refusal, OSError):  # as is a garbled answer of a server: trouble that passes
                reason = getattr(refusal, "summary", {"reason": str(refusal)})
                steps.fail(connection, step, use_case, as_of, reason)
            raise


def verdict_of(loop: Loop, step: str, as_of: datetime, use_case: str) -> dict | None:
    """What a rhythm found at this as_of, when it is done: a verdict stands, and is not fallen twice."""
    with loop.warehouse.engine("engine").connect() as connection:
        return steps.summary_of_done(connection, step, use_case, as_of)


def newest(loop: Loop, step: str, use_case: str, not_after: datetime | None = None) -> datetime | None:
    """The newest as_of, not after the given one, that the warehouse was built for.

    None when the step is done for it already, or nothing was built yet.
    """
    with loop.warehouse.engine("engine").connect() as connection:
        as_of = steps.latest_done(connection, "warehouse", not_after=not_after)
        done = as_of and steps.state(connection, step, use_case, as_of) == "done"
    return None if done else as_of


def due(
    loop: Loop,
    step: str,
    after: str,
    as_of: datetime | None = None,
    use_case: str = EVERY_USE_CASE,
    after_use_case: str = EVERY_USE_CASE,
) -> list[datetime]:
    """The as_ofs to work on, oldest first: the one asked for, else every one that the ledger shows pending.

    Raises Refused when the one asked for has not come through the step before.
    """
    with loop.warehouse.engine("engine").connect() as connection:
        if as_of is None:
            return steps.pending(connection, step, after, use_case, after_use_case)
        if steps.state(connection, after, after_use_case, as_of) != "done":
            raise Refused(
                f"{step} at {as_of.isoformat()}: the step before it, {after}, is not done for this as_of. "
                f"Run {after} with the same as_of first; `hrloop status` shows what is done."
            )
        return [as_of]
