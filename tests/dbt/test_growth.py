"""A warehouse that grew, build by build, is the one that is built anew; and what may not grow does not."""

import random
from datetime import datetime, timedelta

import pytest
import small_company as company
from hrloop import as_of as moment
from hrloop import transform
from hrloop.settings import Settings
from hrloop.warehouse.fingerprint import fingerprint
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

BUILT = ("staging", "intermediate", "outcomes", "features", "kpi")
BEGIN = "stg_loop__build"  # the model that tells what a build may do
DAY = timedelta(days=1)


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


def execute(warehouse, *statements: str) -> None:
    with warehouse.engine("admin").begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def count(warehouse, table: str, where: str) -> int:
    with warehouse.engine("admin").connect() as connection:
        return connection.scalar(text(f"select count(*) from {table} where {where}"))


def both(seed: int, applications: int = 40) -> company.Rows:
    """Applicants and staff."""
    parts = company.random_rows(seed, applications), company.random_staff(seed, employees=12)
    names = {name for part in parts for name in part.tables}
    return company.Rows(
        {name: [row for part in parts for row in part.tables.get(name, [])] for name in names},
        [decision for part in parts for decision in part.decisions],
    )


def rewrite_history(warehouse, rng: random.Random) -> None:
    """Take some decisions of the loop away, and put others differently: only a superuser can."""
    withdrawn, rewritten = (f"hashtext(decision_id || '{rng.random()}') % 8 = 0" for _ in range(2))
    execute(
        warehouse,
        "set local session_replication_role = replica",
        f"delete from loop.decisions where {withdrawn}",
        "update loop.decisions set score = score / 2, recommended_action ="
        f" case use_case when 'attrition' then 'alert' else 'decline' end where {rewritten}",
    )


# Each example builds four warehouses: one is what a test run can afford.
@given(seed=st.integers(0, 100_000))
@settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_growing_equals_building_anew(warehouse, seed: int):
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    rows = both(seed)
    spread = company.END - company.START
    moments = sorted(company.START + rng.uniform(0.3, 0.9) * spread for _ in range(3))
    before = company.START - 9999 * DAY
    company.clear(warehouse)
    for number, at in enumerate(moments):
        company.insert(warehouse, between(rows, before, at), delivery=f" {number}")
        rewrite_history(warehouse, rng)
        company.build(warehouse, at)
        assert grows_from(warehouse) == (before if number else None)
        before = at
    grown = content(warehouse)
    company.build(warehouse, before, full_refresh=True)
    assert grows_from(warehouse) is None
    assert content(warehouse) == grown


@pytest.fixture(scope="module")
def rows() -> company.Rows:
    return both(seed=11, applications=30)


@pytest.fixture(scope="module")
def standing(server, tmp_path_factory, rows):
    """A warehouse that was built when half of everything was known."""
    with company.fresh(server, tmp_path_factory.mktemp("growth")) as warehouse:
        company.insert(warehouse, rows.known_by(HALF))
        company.build(warehouse, HALF)
        yield warehouse


HALF = company.START + 500 * DAY


@pytest.fixture
def grown(standing):
    with company.fresh_copy(standing) as warehouse:
        yield warehouse


def test_it_grows_from_the_last_build_that_came_to_its_end(grown):
    company.build(grown, HALF + DAY, select=[BEGIN])
    assert grows_from(grown) == HALF


@pytest.mark.parametrize(("done", "from_there"), [(HALF, True), (HALF - DAY, False), (None, False)])
def test_it_grows_from_where_it_stands_by_the_record_alone(grown, done, from_there):
    variables = {"done": moment.text(done) if done else "", **company.DECLARED}
    company.build(grown, HALF + DAY, select=[BEGIN], declared=variables)
    assert grows_from(grown) == (HALF if from_there else None)


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
    company.build(grown, HALF + DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_a_delivery_that_comes_late_is_built_in_anew(grown, rows):
    late = {**rows.tables["ats.applications"][0], "application_id": "late", "known_at": HALF - DAY}
    company.insert(grown, company.Rows({"ats.applications": [late]}), delivery=" late")
    company.build(grown, HALF + DAY)
    assert grows_from(grown) is None
    assert count(grown, "features.feat_application", "application_id = 'late'") == 1


STRICTER = company.DECLARED["use_cases"]["recruitment"] | {"good_hire_rating": 4}


@pytest.mark.parametrize(
    "declared",
    [
        {"project": "another", **company.DECLARED},
        {"use_cases": company.DECLARED["use_cases"] | {"recruitment": STRICTER}},
    ],
)
def test_another_project_and_another_declaration_are_built_anew(grown, declared: dict):
    company.build(grown, HALF + DAY, select=[BEGIN], declared=declared)
    assert grows_from(grown) is None


def test_an_earlier_as_of_is_built_anew(grown):
    company.build(grown, HALF - DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_after_a_failed_test_all_is_built_anew(grown):
    broken = company.Rows()
    broken.add(
        "hris.employees", HALF + DAY, employee_id="E1", valid_from="someday", hired_on="2024-01-01",
        department="d", job_family="data", job_level="1", manager_id="E0",
    )  # fmt: skip
    company.insert(grown, broken, delivery=" broken")
    with pytest.raises(transform.TransformError, match="versions_stg_hris__employees"):
        company.build(grown, HALF + 2 * DAY)
    assert grows_from(grown) == HALF
    execute(grown, "delete from raw.hris__employees where _batch_id = 'hris__employees broken'")
    company.build(grown, HALF + 2 * DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_decisions_that_a_late_round_took_come_in_where_it_stands(grown, rows):
    taken = next(decision for decision in rows.decisions if decision["as_of"] < HALF)
    execute(grown, "set local session_replication_role = replica", "delete from loop.decisions")
    company.insert(grown, company.Rows(decisions=[taken | {"case_key": "A0", "decision_id": "d-late"}]))
    company.build(grown, HALF, select=["source:loop.decisions+"])
    assert count(grown, "outcomes.fct_decisions", "decision_id = 'd-late'") == 1
    company.build(grown, HALF + DAY, select=[BEGIN])
    assert grows_from(grown) == HALF


@pytest.fixture(scope="module")
def lacking(standing, rows):
    """A warehouse that grew, and lacks a decision that a late round took on somebody who was hired."""
    with company.fresh_copy(standing) as warehouse:
        company.build(warehouse, HALF + DAY)
        with warehouse.engine("engine").connect() as connection:
            case = connection.scalar(
                text(
                    "select min(case_key) from outcomes.fct_outcome_milestones"
                    " where use_case = 'recruitment' and origin = 'history'"
                )
            )
        taken = next(decision for decision in rows.decisions if decision["use_case"] == "recruitment")
        late = taken | {"case_key": case, "decision_id": "d-late", "as_of": HALF - DAY}
        company.insert(warehouse, company.Rows(decisions=[late]))
        yield warehouse


REFRESH = ["source:loop.decisions+"]


@pytest.mark.parametrize(
    ("broken", "following", "select"),
    [
        ("outcomes.fct_outcome_milestones", HALF + DAY, REFRESH),
        ("outcomes.fct_decisions", HALF + 2 * DAY, []),
    ],
)
def test_decisions_whose_refresh_broke_off_come_in_with_the_next_build(lacking, broken, following, select):
    with company.fresh_copy(lacking) as warehouse:
        execute(warehouse, f"alter table {broken} add constraint broken check (false) not valid")
        with pytest.raises(transform.TransformError, match="broken"):
            company.build(warehouse, HALF + DAY, select=REFRESH)
        execute(warehouse, f"alter table {broken} drop constraint broken")
        assert count(warehouse, "intermediate.int_decisions", "decision_id = 'd-late'") == 1
        assert count(warehouse, "outcomes.fct_decisions", "decision_id = 'd-late'") == 0
        company.build(warehouse, following, select)
        assert grows_from(warehouse) == following - DAY
        assert count(warehouse, "outcomes.fct_decisions", "decision_id = 'd-late'") == 1
        grown = content(warehouse)
        company.build(warehouse, following, full_refresh=True)
        assert content(warehouse) == grown


def test_a_hire_that_fell_through_has_no_outcome_any_more(grown, rows):
    with grown.engine("engine").connect() as connection:
        case = connection.scalar(
            text(
                "select case_key from outcomes.fct_outcome_milestones where use_case = 'recruitment' limit 1"
            )
        )
    withdrawn = [
        event | {"stage": "rejected", "known_at": HALF + DAY}
        for event in rows.standing("ats.application_events", HALF).values()
        if event["application_id"] == case
    ]
    company.insert(grown, company.Rows({"ats.application_events": withdrawn}), delivery=" withdrawn")
    company.build(grown, HALF + 2 * DAY)
    assert grows_from(grown) == HALF
    assert count(grown, "outcomes.fct_outcome_milestones", f"case_key = '{case}'") == 0
    assert count(grown, "outcomes.fct_decisions", f"case_key = '{case}'") == 1


def test_a_part_is_built_for_the_as_of_of_the_whole(grown):
    with pytest.raises(transform.TransformError, match="Build all of it for one as_of"):
        company.build(grown, HALF + DAY, select=["int_employments"])


def test_a_part_brings_no_build_to_its_end(grown):
    company.build(grown, HALF + DAY, select=["+int_employments"])
    company.build(grown, HALF + DAY, select=["source:loop.decisions+"])
    company.build(grown, HALF + 2 * DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_a_part_that_names_the_end_grows_and_the_whole_after_it_is_built_anew(grown):
    part = ["+int_employments", "+int_requisition_versions", transform.END]
    company.build(grown, HALF + DAY, select=part)
    assert grows_from(grown) == HALF
    company.build(grown, HALF + 2 * DAY, select=part)
    assert grows_from(grown) == HALF + DAY
    company.build(grown, HALF + 3 * DAY, select=[BEGIN])
    assert grows_from(grown) is None


def test_another_file_makes_another_project(tmp_path):
    project = Settings(project=tmp_path, home=tmp_path)
    (tmp_path / "dbt").mkdir()
    digests = []
    for name, content in (("a.sql", "select 1"), ("a.sql", "select 2"), ("b.csv", "")):
        (tmp_path / "dbt" / name).write_text(content)
        digests.append(transform.digest(project))
    assert len(set(digests)) == 3
