"""Milestones: which outcomes came due, what is known of them, and how complete the feedback is."""

from datetime import datetime

from sqlalchemy import text

from hrloop.rhythms import Loop, recorded

NEWLY_DUE_DAYS = 31  # the report of a month's first day covers the whole month before
STATUSES = ("observed", "missing", "pending", "censored")

# Read as of a time, so that a report written late says what it would have said then: without the decisions
# that were taken at this as_of, which may be in the warehouse by now.
_STANDING = text("""
    select
        milestone_months,
        status,
        count(*) as milestones,
        count(*) filter (where due_on <= :today and due_on > :today - :newly) as newly_due,
        avg(value) filter (where status = 'observed') as rate
    from intermediate.int_outcome_milestone_versions as outcomes
    where
        use_case = :use_case
        and known_from <= :as_of
        and (known_to is null or known_to > :as_of)
        and not exists (
            select from loop.decisions
            where
                decisions.use_case = outcomes.use_case
                and decisions.case_key = outcomes.case_key
                and decisions.as_of = :as_of
        )
    group by milestone_months, status
""")


def report(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Counts by status for each declared milestone, as known by ``as_of``.

    Per milestone: observed, missing, pending, censored (counts), ``newly_due`` (due in the last 31 days),
    ``rate`` (share of good outcomes among the observed, null without any) and ``feedback_completeness``
    (observed / (observed + missing), null while nothing was reached).
    """
    milestones = loop.use_case(use_case).outcome.milestones
    with recorded(loop, "milestones", as_of, use_case) as summary:
        with loop.warehouse.engine("engine").connect() as connection:
            rows = connection.execute(
                _STANDING,
                {"use_case": use_case, "as_of": as_of, "today": as_of.date(), "newly": NEWLY_DUE_DAYS},
            ).all()
        summary["milestones"] = [
            _figures(months, [row for row in rows if row.milestone_months == months]) for months in milestones
        ]
    return summary


def _figures(months: int, rows: list) -> dict:
    counts = dict.fromkeys(STATUSES, 0) | {row.status: row.milestones for row in rows}
    reached = counts["observed"] + counts["missing"]
    rate = next((row.rate for row in rows if row.status == "observed"), None)
    return {
        "months": months,
        **counts,
        "newly_due": sum(row.newly_due for row in rows),
        "rate": None if rate is None else round(float(rate), 4),
        "feedback_completeness": round(counts["observed"] / reached, 4) if reached else None,
    }
