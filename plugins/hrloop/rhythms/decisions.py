"""Decisions: the open cases of a use case, decided by its champion, on record."""

from datetime import datetime

from hrloop import as_of as moment
from hrloop import decisions, release
from hrloop.rhythms import Loop, recorded
from hrloop.warehouse import Warehouse


def decide(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Score, rank, explain, route and record every open case; the round's figures.

    A version decides nothing from before it was put in charge: it may have learnt from what came later.
    Such an as_of, and one without any champion, is done with a note: people alone decided.
    """
    declaration = loop.use_case(use_case)
    with recorded(loop, "decisions", as_of, use_case) as summary:
        since = _in_charge_since(loop.warehouse, use_case)
        if since is None:
            summary.update(decided=0, note="no champion: people decide alone")
        elif since > as_of:
            summary.update(decided=0, note=f"the champion is in charge since {moment.text(since)} only")
        else:
            report = decisions.decide(loop.warehouse, loop.settings, loop.registry, declaration, as_of)
            summary.update(report.as_json())
    return summary


def _in_charge_since(warehouse: Warehouse, use_case: str) -> datetime | None:
    """The as_of at which today's champion was first put in charge; None without a champion."""
    rows = release.read(warehouse, use_case)
    champion = release.standing(rows).champion
    return next((row.as_of for row in rows if champion is not None and row.version == champion), None)
