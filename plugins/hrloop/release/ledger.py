"""The ledger of releases: who put which version in charge, when, and upon what evidence.

``loop.releases`` is append-only and the authority; the aliases in MLflow follow it. Who is champion is the
rows of a use case read in order: a promotion puts a version on top, a roll-back takes the top away. Which
calibrator is live is the ``calibrate`` rows of the champion, read alike.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, NullPool, create_engine, select, text
from sqlalchemy.dialects.postgresql import insert

from hrloop.warehouse import Warehouse
from hrloop.warehouse.tables import releases

PROMOTIONS = ("first", "promote")
REFUSALS = ("reject", "time_out")
SPENDING = (*PROMOTIONS, *REFUSALS)


@dataclass(frozen=True)
class Release:
    """A row of the ledger."""

    release_id: str
    use_case: str
    as_of: datetime
    kind: str
    version: int | None
    previous_version: int | None
    verdict: str
    run_id: str | None = None
    reasons: list[str] = field(default_factory=list)
    evidence: dict = field(default_factory=dict)
    approved_by: str | None = None
    approved_at: datetime | None = None
    approval_reason: str | None = None


@dataclass(frozen=True)
class Standing:
    """Who is in charge, who would be after a roll-back, and whose approval is used up.

    ``spent`` holds every version that has been promoted or rejected, or that nobody judged in time: it is
    no challenger any more. ``calibration``: the row that put the champion's live calibrator in force; None
    while it is the one that the version was made with.
    """

    champion: int | None
    previous: int | None
    spent: frozenset[int] = frozenset()
    calibration: Release | None = None


def standing(rows: Sequence[Release]) -> Standing:
    """Who is in charge after these rows, given in the order of entry."""
    stack: list[int] = []
    for row in rows:
        if row.kind in PROMOTIONS:
            stack.append(row.version)
        elif row.kind == "roll_back":
            while stack and stack[-1] != row.version:
                stack.pop()
    champion = stack[-1] if stack else None
    return Standing(
        champion=champion,
        previous=stack[-2] if len(stack) > 1 else None,
        spent=frozenset(row.version for row in rows if row.kind in SPENDING),
        calibration=live_calibration(rows, champion),
    )


def changed_after(rows: Sequence[Release], as_of: datetime) -> datetime | None:
    """When what decides was changed last, if after this time; else None."""
    changes = (*PROMOTIONS, "roll_back", "calibrate")
    return max((row.as_of for row in rows if row.kind in changes and row.as_of > as_of), default=None)


def live_calibration(
    rows: Sequence[Release], version: int | None, before: datetime | None = None
) -> Release | None:
    """The row that put a version's live calibrator in force; ``before``: as it stood before that time."""
    live: list[Release] = []
    for row in rows:
        if row.kind == "calibrate" and row.version == version and (before is None or row.as_of < before):
            if row.verdict == "promote":
                live.append(row)
            elif live:
                live.pop()
    return live[-1] if live else None


def release_id(use_case: str, kind: str, *identity: object) -> str:
    """The name of a ledger row: the same decision upon the same thing has one, and so is written once."""
    return hashlib.sha256("|".join(map(str, (use_case, kind, *identity))).encode()).hexdigest()[:32]


def entries(connection: Connection, use_case: str) -> list[Release]:
    """All rows of a use case in the order of entry."""
    names = Release.__dataclass_fields__
    query = select(*(releases.c[name] for name in names)).where(releases.c.use_case == use_case)
    return [Release(**row) for row in connection.execute(query.order_by(releases.c.sequence)).mappings()]


def record(connection: Connection, release: Release) -> Release:
    """Write a row, unless it stands there already, and return the one that stands.

    Under locked() the statement is its own transaction: its commit is the moment at which it happens.
    """
    row = {name: getattr(release, name) for name in Release.__dataclass_fields__}
    connection.execute(insert(releases).values(row).on_conflict_do_nothing())
    rows = entries(connection, release.use_case)
    return next(one for one in rows if one.release_id == release.release_id)


def read(wh: Warehouse, use_case: str) -> list[Release]:
    """All rows of a use case in the order of entry."""
    with wh.engine("engine").connect() as connection:
        return entries(connection, use_case)


@contextmanager
def locked(wh: Warehouse, use_case: str, door: str = "release") -> Iterator[Connection]:
    """The one door: whoever changes the champion of a use case is alone with it.

    The lock belongs to the connection, which is one of its own and commits each statement: so it outlives
    the commit of the ledger's row until the aliases have followed, and a process that is killed loses it.
    """
    digest = hashlib.sha256(f"hrloop {door} {use_case}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    engine = create_engine(wh.url("engine"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": key})
        yield connection
