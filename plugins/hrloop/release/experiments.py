"""Live experiments: a challenger decides a share of the groups, and a verdict falls on set days.

An experiment is a row of ``loop.experiments``. It is begun and ended through these functions alone; while it
runs, decision rounds ask for it as of their time, and every look leaves its figures in the row.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from hrloop import as_of as moments
from hrloop.release import ledger
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from hrloop.warehouse.tables import experiments


@dataclass(frozen=True)
class Experiment:
    """A row of ``loop.experiments``; ``looks`` are days after the first round that it drew."""

    experiment_id: str
    use_case: str
    champion: int
    challenger: int
    share: float
    looks: Sequence[int]
    started_at: datetime
    ended_at: datetime | None = None
    verdict: str | None = None
    reasons: Sequence[str] = ()
    evidence: Mapping = field(default_factory=dict)


def begin(wh: Warehouse, use_case: UseCase, challenger: int, as_of: datetime) -> Experiment:
    """Begin an experiment of the challenger with today's champion; begun already, it is returned.

    Raises ValueError when there is no champion, or while another experiment of the use case runs.
    """
    with ledger.locked(wh, use_case.name) as connection:
        champion = ledger.standing(ledger.entries(connection, use_case.name)).champion
        if champion is None:
            raise ValueError(
                f"{use_case.name} has no champion: there is nothing to try version {challenger} against"
            )
        started = moments.text(as_of)
        identity = f"{use_case.name}|experiment|{started}|{champion}|{challenger}"
        row = {
            "experiment_id": hashlib.sha256(identity.encode()).hexdigest()[:32],
            "use_case": use_case.name,
            "champion": champion,
            "challenger": challenger,
            "share": use_case.experiment.share.value,
            "looks": list(use_case.experiment.looks),
            "started_at": as_of,
        }
        connection.execute(insert(experiments).values(row).on_conflict_do_nothing())
        found = _one(connection, experiments.c.experiment_id == row["experiment_id"])
        if found is None:
            other = _one(
                connection, experiments.c.use_case == use_case.name, experiments.c.ended_at.is_(None)
            )
            raise ValueError(
                f"{use_case.name}: the experiment with version {other.challenger}, begun"
                f" {moments.text(other.started_at)}, still runs; one at a time"
            )
        return found


def running(wh: Warehouse, use_case: str, as_of: datetime) -> Experiment | None:
    """The experiment that ran at ``as_of``: begun by then and not ended before or at it."""
    with wh.engine("engine").connect() as connection:
        return _one(
            connection,
            experiments.c.use_case == use_case,
            experiments.c.started_at <= as_of,
            or_(experiments.c.ended_at.is_(None), experiments.c.ended_at > as_of),
        )


def to_look_at(wh: Warehouse, use_case: str, as_of: datetime) -> Experiment | None:
    """The experiment that a look at ``as_of`` is about: begun before it, and not ended before it.

    One that ended at it was ended by this very look: what follows its verdict may have been cut short.
    """
    with wh.engine("engine").connect() as connection:
        return _one(
            connection,
            experiments.c.use_case == use_case,
            experiments.c.started_at < as_of,
            or_(experiments.c.ended_at.is_(None), experiments.c.ended_at >= as_of),
        )


def latest(wh: Warehouse, use_case: str) -> Experiment | None:
    """The experiment that was begun last."""
    with wh.engine("engine").connect() as connection:
        return _one(connection, experiments.c.use_case == use_case)


def of_challenger(connection: Connection, use_case: str, version: int) -> Experiment | None:
    """The experiment that a version was tried in, if it was."""
    return _one(connection, experiments.c.use_case == use_case, experiments.c.challenger == version)


def look(
    wh: Warehouse,
    experiment: Experiment,
    as_of: datetime,
    figures: Mapping,
    verdict: str | None = None,
    reasons: Sequence[str] = (),
) -> Experiment:
    """Keep the figures of a look (as JSON holds them), and with a verdict end the experiment at ``as_of``.

    An ended experiment is returned as it is: its verdict stands.
    """
    values: dict = {
        experiments.c.evidence: experiments.c.evidence.op("||")({moments.text(as_of): dict(figures)})
    }
    if verdict:
        values |= {
            experiments.c.ended_at: as_of,
            experiments.c.verdict: verdict,
            experiments.c.reasons: list(reasons),
        }
    mine = experiments.c.experiment_id == experiment.experiment_id
    with wh.engine("engine").begin() as connection:
        connection.execute(update(experiments).where(mine, experiments.c.ended_at.is_(None)).values(values))
        return _one(connection, mine)


def _one(connection: Connection, *conditions: object) -> Experiment | None:
    names = Experiment.__dataclass_fields__
    query = select(*(experiments.c[name] for name in names)).where(*conditions)
    row = (
        connection.execute(query.order_by(experiments.c.started_at.desc()).limit(1)).mappings().one_or_none()
    )
    return Experiment(**row) if row else None
