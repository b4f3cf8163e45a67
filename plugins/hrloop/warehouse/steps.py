"""The ledger of done as_ofs. An event may wake a step up; what is left to do is read here."""

from datetime import datetime

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.dialects.postgresql import insert

from hrloop.warehouse.tables import steps

EVERY_USE_CASE = "*"  # the use_case of a step that serves all of them


def start(connection: Connection, step: str, use_case: str, as_of: datetime) -> None:
    """Record that the step runs; one that was done, failed or killed before starts anew."""
    row = insert(steps).values(step=step, use_case=use_case, as_of=as_of, state="running")
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["step", "use_case", "as_of"],
            set_={"state": "running", "started_at": func.now(), "finished_at": None},
        )
    )


def finish(connection: Connection, step: str, use_case: str, as_of: datetime, summary: dict) -> None:
    """Record that the step is done, with its figures."""
    _end(connection, step, use_case, as_of, "done", summary)


def fail(connection: Connection, step: str, use_case: str, as_of: datetime, summary: dict) -> None:
    """Record that the step came to a verdict against going on; it is not tried again by itself."""
    _end(connection, step, use_case, as_of, "failed", summary)


def _end(connection, step: str, use_case: str, as_of: datetime, state: str, summary: dict) -> None:
    row = insert(steps).values(
        step=step, use_case=use_case, as_of=as_of, state=state, summary=summary, finished_at=func.now()
    )
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["step", "use_case", "as_of"],
            set_={"state": state, "summary": summary, "finished_at": func.now()},
        )
    )


def state(connection: Connection, step: str, use_case: str, as_of: datetime) -> str | None:
    """running, done or failed; None when the step never began for this as_of."""
    return connection.scalar(
        select(steps.c.state).where(
            steps.c.step == step, steps.c.use_case == use_case, steps.c.as_of == as_of
        )
    )


def summary_of_done(connection: Connection, step: str, use_case: str, as_of: datetime) -> dict | None:
    """What the step found, when it is done for this as_of; else None."""
    return connection.scalar(
        select(steps.c.summary).where(
            steps.c.step == step,
            steps.c.use_case == use_case,
            steps.c.as_of == as_of,
            steps.c.state == "done",
        )
    )


def done_between(
    connection: Connection, step: str, use_case: str, after: datetime, before: datetime
) -> list[tuple[datetime, dict]]:
    """(as_of, summary) of each run that is done, later than ``after`` and earlier than ``before``."""
    query = select(steps.c.as_of, steps.c.summary).where(
        steps.c.step == step,
        steps.c.use_case == use_case,
        steps.c.state == "done",
        steps.c.as_of > after,
        steps.c.as_of < before,
    )
    return [(as_of, summary) for as_of, summary in connection.execute(query.order_by(steps.c.as_of))]


def pending(
    connection: Connection,
    step: str,
    after: str,
    use_case: str = EVERY_USE_CASE,
    after_use_case: str = EVERY_USE_CASE,
) -> list[datetime]:
    """as_ofs, oldest first, for which the step before is done and this one has neither done nor failed.

    A step that was killed while running is pending again.
    """
    before, own = steps.alias("before"), steps.alias("own")
    query = (
        select(before.c.as_of)
        .outerjoin(own, and_(own.c.step == step, own.c.use_case == use_case, own.c.as_of == before.c.as_of))
        .where(before.c.step == after, before.c.use_case == after_use_case, before.c.state == "done")
        .where(func.coalesce(own.c.state, "running") == "running")
        .order_by(before.c.as_of)
    )
    return list(connection.scalars(query))


def latest_done(
    connection: Connection, step: str, use_case: str = EVERY_USE_CASE, not_after: datetime | None = None
) -> datetime | None:
    """The highest as_of, not after the given one, for which the step is done."""
    query = select(func.max(steps.c.as_of)).where(
        steps.c.step == step, steps.c.use_case == use_case, steps.c.state == "done"
    )
    return connection.scalar(query if not_after is None else query.where(steps.c.as_of <= not_after))
