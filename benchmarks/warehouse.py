"""The outcome warehouse of a company, built whole and for one new month, and a training frame out of it.

A build is all of it: models, their data tests, and the statistics for the planner. Whole, it is shown beside
a plain copy of the raw tables it is made of, to which no limit is set; for a new month, beside the whole
build. What the engine reads in bulk is shown beside ADBC alone. A training frame is shown beside the same
join written by hand and fetched by ADBC, without its checks, its order and the objects that learning reads;
no limit is set to it.
"""

from hrloop import as_of as moments
from hrloop import features, transform
from hrloop.rhythms import Loop, intake
from hrloop.sources import contract
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from sqlalchemy import text

from benchmarks import MANY, VERY_MANY, Row, company, duration, in_bulk, rate, seconds

MONTH_LIMIT = 0.2  # of the whole build, at a million applications
READ_LIMIT = 0.7  # of the rate of ADBC alone
LAST = company.MONTHS - 1


def run(wh: Warehouse, use_case: UseCase, n: int) -> list[Row]:
    """Seconds of both builds, and the rates of reading and of the frame, in rows a second."""
    company.clear(wh)
    company.deliver(wh, n, 0, LAST)
    _build(wh, LAST, select=["warehouse_standing"])  # parses the project, once a process
    copied = seconds(lambda: _copy(wh))
    whole = seconds(lambda: _build(wh, LAST, full_refresh=True))
    company.deliver(wh, n, company.MONTHS, company.MONTHS)
    month = seconds(lambda: _build(wh, company.MONTHS))
    read = [(seconds(lambda: _read(wh, use_case)), seconds(lambda: _fetched(wh, use_case))) for _ in range(3)]
    turns = [(seconds(lambda: _frame(wh, use_case)), seconds(lambda: _plain(wh, use_case))) for _ in range(3)]
    company.clear(wh)
    return [
        duration("warehouse build", n, [(whole, copied)], None),
        duration("warehouse build for a new month", n, [(month, whole)], in_bulk(MONTH_LIMIT, n, VERY_MANY)),
        rate("read in bulk", n, read, in_bulk(READ_LIMIT, n, MANY)),
        rate("training frame", n, turns, None),
    ]


def _build(wh: Warehouse, month: int, **how) -> None:
    variables = {"as_of": moments.text(company.as_of(month)), **intake.variables(Loop(wh.settings))}
    transform.build(wh, wh.settings, variables, **how)


def _copy(wh: Warehouse) -> None:
    with wh.engine("loader").connect() as connection:
        for table in contract.load().values():
            connection.execute(text(f"create temporary table copied as select * from {table.raw}"))  # noqa: S608
            connection.execute(text("drop table copied"))


def _read(wh: Warehouse, use_case: UseCase) -> None:
    table = use_case.decision.feature_table
    known = f"select * from {table} where known_from <= :as_of"  # noqa: S608 - a plain identifier
    wh.read("engine", known, as_of=company.as_of(company.MONTHS))


def _fetched(wh: Warehouse, use_case: UseCase) -> None:
    table, as_of = use_case.decision.feature_table, moments.text(company.as_of(company.MONTHS))
    with wh.adbc("engine") as connection, connection.cursor() as cursor:
        cursor.execute(f"select * from {table} where known_from <= '{as_of}'")  # noqa: S608 - as above
        cursor.fetch_arrow_table()


def _frame(wh: Warehouse, use_case: UseCase) -> None:
    if features.training_frame(wh, use_case, company.as_of(company.MONTHS)).empty:
        raise RuntimeError("there should have been decisions")


def _plain(wh: Warehouse, use_case: UseCase) -> None:
    decision = use_case.decision
    columns = ", ".join(
        f"features.{name}" for name in [decision.subject_key, decision.group_key, *use_case.feature_names]
    )
    wh.read(
        "engine",
        f"""
        select
            decisions.decision_id, decisions.case_key, decisions.decided_at, decisions.origin,
            decisions.selection_propensity, outcomes.status, outcomes.value, outcomes.known_from, {columns}
        from outcomes.fct_decisions as decisions
        inner join {decision.feature_table} as features
            on
                decisions.case_key = features.{decision.case_key}
                and features.known_from <= decisions.decided_at
                and (features.known_to is null or features.known_to > decisions.decided_at)
        left join intermediate.int_outcome_milestone_versions as outcomes
            on
                decisions.case_key = outcomes.case_key
                and outcomes.milestone_months = {use_case.outcome.label_milestone:d}
                and outcomes.known_to is null
        """,  # noqa: S608 - plain identifiers of the declaration
    )
