"""A warehouse that grew, build by build, is the one that is built anew; and what may not grow does not."""

import random
from datetime import datetime, timedelta

import pytest
import small_company as company
from hrloop import as_of as moment
from hrloop import transform
from hrloop.warehouse.fingerprint import fingerprint
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

BUILT = ("staging", "intermediate", "outcomes", "features", "kpi")
BEGIN = "stg_loop__build"  # the model that tells what a build may do
DAY = timedelta(days=1)


def build(warehouse, as_of: datetime, select=(), declared=company.DECLARED, **how) -> None:
    variables = {"as_of": moment.text(as_of), **declared}
    transform.build(warehouse, warehouse.settings, variables, select, **how)


def grows_from(warehouse) -> datetime | None:
    """The as_of that the build under way, or the last one, grows from; None where all is built anew."""
    with warehouse.engine("transformer").connect() as connection:
        return connection.scalar(text("select nullif(since, '-infinity') from staging.stg_loop__build"))


def content(warehouse) -> dict[str, str]:
    with warehouse.engine("admin").connect() as connection:
        names = connection.scalars(
            text(
                "select table_schema || '.' || table_name from information_schema.tables"
                " where table_schema = any(:schemas) order by 1"
            ),
            {"schemas": list(BUILT)},
        ).all()
    return {name: fingerprint(warehouse, name) for name in names}


def between(rows: company.Rows, after: datetime, until: datetime) -> company.Rows:
    """What became known after one time and by another, and the decisions taken meanwhile."""
    known = {
        name: [row for row in table if after < row["known_at"] <= until]
        for name, table in rows.tables.items()
    }
    return company.Rows(
        {name: table for name, table in known.items() if table},
        [decision for decision in rows.decisions if after < decision["as_of"] <= until],
    )


# Each example builds five warehouses: one a kind of company is what a test run can afford.
@pytest.mark.parametrize("draw", [company.random_rows, company.random_staff])
@given(seed=st.integers(0, 100_000))
@settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_growing_equals_building_anew(warehouse, draw, seed: int):
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    rows = draw(seed)
    spread = company.END - company.START
    moments = sorted(company.START + rng.uniform(0.3, 0.9) * spread for _ in range(3))
    before = company.START - 9999 * DAY
    company.clear(warehouse)
    for number, at in enumerate(moments):
        company.insert(warehouse, between(rows, before, at), delivery=f" {number}")
        build(warehouse, at)
        assert grows_from(warehouse) == (before if number else None)
        before = at
    grown = content(warehouse)
    build(warehouse, before, full_refresh=True)
    assert grows_from(warehouse) is None
    assert content(warehouse) == grown


@pytest.fixture(scope="module")
def rows() -> company.Rows:
    return company.random_rows(seed=11, applications=30)


@pytest.fixture(scope="module")
def standing(server, tmp_path_factory, rows):
    """A warehouse that was built when half of everything was known."""
    with company.fresh(server, tmp_path_factory.mktemp("growth")) as warehouse:
        company.insert(warehouse, rows.known_by(HALF))
        build(warehouse, HALF)
        yield warehouse


HALF = company.START + 500 * DAY


@pytest.fixture
def grown(standing):
    with company.fresh_copy(standing) as warehouse:
        yield warehouse


def execute(warehouse, statement: str, **values) -> None:
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text(statement), values)


def test_it_grows_from_the_last_build_that_came_to_its_end(grown):
    build(grown, HALF + DAY, select=[BEGIN])
    assert grows_from(grown) == HALF


@pytest.mark.parametrize(
    "change",
    [
        # a row is re-admitted, or lost to quarantine: the counts of its batch change
        "update loop.batches set rows_passed = rows_passed - 1, rows_quarantined = 1"
        " where batch_id = 'ats__applications'",
        # and where one came for one that went, they are the same again
        "update loop.batches set rows_passed = rows_passed where batch_id = 'ats__applications'",
        "update loop.batches set status = 'failed' where batch_id = 'hris__reviews'",
        # a build that did not come to its end
        'update staging.stg_loop__build set stands_on = stands_on || \'{"as_of": "2030-01-01"}\'',
    ],
)
def test_what_was_known_before_has_changed(grown, change: str):
    execute(grown, change)
    build(grown, HALF + DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_a_delivery_that_comes_late_is_built_in_anew(grown, rows):
    late = {**rows.tables["ats.applications"][0], "application_id": "late", "known_at": HALF - DAY}
    company.insert(grown, company.Rows({"ats.applications": [late]}), delivery=" late")
    build(grown, HALF + DAY)
    assert grows_from(grown) is None
    with grown.engine("engine").connect() as connection:
        found = connection.scalar(
            text("select count(*) from features.feat_application where application_id = 'late'")
        )
    assert found == 1


@pytest.mark.parametrize(
    "declared",
    [
        {"project": "another", **company.DECLARED},
        {"use_cases": company.DECLARED["use_cases"] | {"recruitment": company.DECLARED["use_cases"]["recruitment"] | {"good_hire_rating": 4}}},
    ],
)  # fmt: skip
def test_another_project_and_another_declaration_are_built_anew(grown, declared: dict):
    build(grown, HALF + DAY, select=[BEGIN], declared=declared)
    assert grows_from(grown) is None


def test_an_earlier_as_of_is_built_anew(grown):
    build(grown, HALF - DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_after_a_failed_test_all_is_built_anew(grown):
    broken = company.Rows()
    broken.add(
        "hris.employees", HALF + DAY, employee_id="E1", valid_from="someday", hired_on="2024-01-01",
        department="d", job_family="data", job_level="1", manager_id="E0",
    )  # fmt: skip
    company.insert(grown, broken, delivery=" broken")
    with pytest.raises(transform.TransformError, match="versions_stg_hris__employees"):
        build(grown, HALF + 2 * DAY)
    assert grows_from(grown) == HALF
    execute(grown, "delete from raw.hris__employees where _batch_id = 'hris__employees broken'")
    build(grown, HALF + 2 * DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_decisions_that_a_late_round_took_come_in_where_it_stands(grown, rows):
    taken = next(decision for decision in rows.decisions if decision["as_of"] < HALF)
    execute(grown, "set local session_replication_role = replica; delete from loop.decisions")
    company.insert(grown, company.Rows(decisions=[taken | {"case_key": "A0", "decision_id": "d-late"}]))
    build(grown, HALF, select=["source:loop.decisions+"])
    with grown.engine("engine").connect() as connection:
        found = connection.scalar(
            text("select count(*) from outcomes.fct_decisions where decision_id = 'd-late'")
        )
    assert found == 1
