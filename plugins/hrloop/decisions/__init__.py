"""Score, rank, route, explain and record: each case once, by the champion."""

from hrloop.decisions.rounds import (
    DecisionError,
    DecisionReport,
    decide,
    decision_id,
    explain,
    reasons,
    report,
    subject,
    table_of,
)

__all__ = [
    "DecisionError",
    "DecisionReport",
    "decide",
    "decision_id",
    "explain",
    "reasons",
    "report",
    "subject",
    "table_of",
]
