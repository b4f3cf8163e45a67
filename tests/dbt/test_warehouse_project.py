"""The dbt project: it builds, twice the same, fails closed, describes everything, and keeps to its rights."""

import json
import re
from datetime import UTC, datetime

import pytest
import small_company as company
from dbt.cli.main import dbtRunner
from hrloop import as_of as moment
from hrloop import transform
from hrloop.sources import contract
from hrloop.warehouse.fingerprint import fingerprint
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

BUILT = ("staging", "intermediate", "outcomes", "features", "kpi")
VARIABLES = {"as_of": moment.text(company.END), **company.DECLARED}


@pytest.fixture(scope="module")
def built(server, tmp_path_factory):
    """A warehouse built once from a small company."""
    with company.fresh(server, tmp_path_factory.mktemp("project")) as warehouse:
        company.insert(warehouse, company.random_rows(seed=3, applications=80))
        summary = transform.build(warehouse, warehouse.settings, VARIABLES)
        assert summary["as_of"] == moment.text(company.END)
        assert summary["models"] >= 34
        yield warehouse


def relations(warehouse) -> list[str]:
    with warehouse.engine("admin").connect() as connection:
        return list(
            connection.scalars(
                text(
                    "select table_schema || '.' || table_name from information_schema.tables"
                    " where table_schema = any(:schemas) order by 1"
                ),
                {"schemas": list(BUILT)},
            )
        )


def scalar(warehouse, sql: str, role: str = "engine"):
    with warehouse.engine(role).connect() as connection:
        return connection.exec_driver_sql(sql).scalar()


def test_the_arithmetic_of_the_models(built):
    assert transform.unit_test(built, built.settings, VARIABLES)["tests"] >= 19


def test_everything_is_described_in_postgres(built):
    query = text(
        """
        select classes.relname, attributes.attname
        from pg_class as classes
        inner join pg_namespace as spaces on classes.relnamespace = spaces.oid
        inner join pg_attribute as attributes on classes.oid = attributes.attrelid
        left join pg_description as described
            on classes.oid = described.objoid and attributes.attnum = described.objsubid
        left join pg_description as whole on classes.oid = whole.objoid and whole.objsubid = 0
        where
            spaces.nspname = any(:schemas)
            and classes.relkind in ('r', 'v')
            and attributes.attnum > 0
            and not attributes.attisdropped
            and (coalesce(described.description, '') = '' or coalesce(whole.description, '') = '')
        """
    )
    with built.engine("admin").connect() as connection:
        assert connection.execute(query, {"schemas": list(BUILT)}).all() == []


def test_no_person_and_nothing_protected_leaves_raw(built):
    withheld = {name for table in contract.load().values() for name in table.withheld} | {"cover_letter"}
    with built.engine("admin").connect() as connection:
        columns = connection.scalars(
            text("select column_name from information_schema.columns where table_schema = any(:schemas)"),
            {"schemas": list(BUILT)},
        )
        assert withheld.isdisjoint(columns)


@pytest.mark.parametrize(
    ("role", "relation", "may"),
    [
        ("analyst", "outcomes.fct_decisions", True),
        ("analyst", "kpi.funnel", True),
        ("analyst", "features.feat_application", False),
        ("analyst", "intermediate.int_hires", False),
        ("analyst", "staging.stg_ats__applications", False),
        ("engine", "features.feat_application", True),
        ("engine", "intermediate.int_outcome_milestone_versions", True),
        ("engine", "staging.stg_ats__applications", False),
        ("fairness", "outcomes.fct_decisions", True),
        ("fairness", "features.feat_application", False),
        ("loader", "outcomes.fct_decisions", False),
    ],
)
def test_rights(built, role: str, relation: str, may: bool):
    if may:
        assert scalar(built, f"select count(*) from {relation}", role) > 0
    else:
        with pytest.raises(ProgrammingError, match="permission denied"):
            scalar(built, f"select count(*) from {relation}", role)


@pytest.mark.parametrize(
    ("role", "schemas"),
    [
        ("analyst", {"outcomes", "kpi"}),
        ("fairness", {"outcomes", "protected"}),
        ("engine", {"loop", "intermediate", "outcomes", "features", "kpi"}),
        ("transformer", {"loop", "raw", *BUILT}),
        ("loader", {"loop", "raw", "quarantine", "protected"}),
    ],
)
def test_a_role_reads_its_schemas_and_no_column_beside_them(built, role: str, schemas: set[str]):
    query = text(
        """
        select
            spaces.nspname,
            bool_or(
                has_schema_privilege(:role, spaces.oid, 'usage')
                and has_any_column_privilege(:role, classes.oid, 'select')
            )
        from pg_class as classes
        inner join pg_namespace as spaces on classes.relnamespace = spaces.oid
        where classes.relkind in ('r', 'v') and spaces.nspname !~ '^(pg_|information_schema)'
        group by 1
        """
    )
    with built.engine("admin").connect() as connection:
        readable = dict(connection.execute(query, {"role": role}).all())
    assert set(readable) == {"loop", "raw", "quarantine", "protected", *BUILT}
    assert {schema for schema, may in readable.items() if may} == schemas


def test_figures_add_up(built):
    selected = scalar(built, "select count(*) from outcomes.fct_decisions where selected")
    assert selected > 10
    assert scalar(built, "select count(*) from outcomes.fct_outcome_milestones") == 4 * selected
    parts = "sum(observed + missing + pending + censored)"
    assert scalar(built, f"select {parts} from kpi.feedback_completeness") == 4 * selected
    assert scalar(built, "select sum(hired) from kpi.funnel") == selected
    assert scalar(built, "select sum(hires) from kpi.time_to_hire") <= selected
    assert scalar(built, "select count(*) from outcomes.fct_decisions where origin = 'loop'") > 10
    kinds = "string_agg(distinct suggestion, ', ' order by suggestion)"
    assert (
        scalar(built, f"select {kinds} from kpi.retention_of_suggested_hires")
        == "before the loop, not suggested, suggested"
    )


def test_built_again_it_is_the_same(built):
    before = {relation: fingerprint(built, relation) for relation in relations(built)}
    transform.build(built, built.settings, VARIABLES)
    assert {relation: fingerprint(built, relation) for relation in relations(built)} == before
    assert {relation.split(".")[0] for relation in before} == set(BUILT)


def test_a_failed_test_stops_what_is_behind_it(built):
    broken = company.Rows()
    broken.add(
        "hris.employees", company.END, employee_id="E1", valid_from="someday", hired_on="2024-01-01",
        department="d", job_family="data", job_level="1", manager_id="E0",
    )  # fmt: skip
    later = moment.text(datetime(2025, 7, 1, tzinfo=UTC))
    with company.fresh_copy(built) as warehouse:
        with warehouse.engine("admin").begin() as connection:
            connection.exec_driver_sql("delete from loop.batches where batch_id = 'hris__employees'")
        company.insert(warehouse, broken)
        with pytest.raises(transform.TransformError) as failure:
            transform.build(warehouse, warehouse.settings, VARIABLES | {"as_of": later})
        message = str(failure.value)
        assert "test versions_stg_hris__employees_employee_key__valid_from on stg_hris__employees" in message
        assert "found 1 row(s)" in message
        assert "were skipped" in message
        assert "build the same as_of again" in message
        stands = scalar(warehouse, "select as_of from outcomes.warehouse_standing")
        assert stands == company.END


def test_as_of_must_be_said_and_have_an_offset(built):
    with pytest.raises(ValueError, match="write it like 2026-10-01T06:00:00Z"):
        transform.build(built, built.settings, company.DECLARED)
    with pytest.raises(ValueError, match="has no UTC offset"):
        transform.build(built, built.settings, VARIABLES | {"as_of": "2025-06-01T00:00:00"})


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        (company.DECLARED, "The variable 'as_of' is missing. Say as of when to build"),
        (VARIABLES | {"as_of": "2025-06-01"}, "has no UTC offset. Write it like 2026-10-01T06:00:00Z"),
        ({"as_of": VARIABLES["as_of"]}, "The variable 'use_cases' is missing."),
        (
            {
                "as_of": VARIABLES["as_of"],
                "use_cases": {"recruitment": {"report_grace_days": 60, "milestones": [3]}},
            },
            "models/recruitment/use_case.yaml does not declare outcome.parameters.good_hire_rating",
        ),
    ],
)
def test_dbt_by_hand_says_what_is_missing(built, monkeypatch, variables: dict, remedy: str):
    for name, value in built.environment().items():
        monkeypatch.setenv(name, value)
    project = str(built.settings.project / "dbt")
    state = ["--target-path", str(built.settings.home / "by-hand"), "--log-path", str(built.settings.home)]
    arguments = ["compile", "--select", "int_hire_outcome_versions", "--vars", json.dumps(variables)]
    places = ["--project-dir", project, "--profiles-dir", project, *state]
    answer = dbtRunner().invoke([*arguments, *places, "--log-level", "none"])
    assert not answer.success
    assert remedy in str(answer.exception or [result.message for result in answer.result.results])


def test_the_project_parses_without_variables_or_database(settings):
    manifest = json.loads(transform.parse(settings).read_text(encoding="utf-8"))
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert {model["schema"] for model in models} == set(BUILT)
    undescribed = [
        f"{model['name']}.{name}"
        for model in models
        for name, column in model["columns"].items()
        if not column["description"].strip()
    ]
    assert undescribed == []
    contracts = [m for m in models if m["schema"] in ("outcomes", "features", "kpi")]
    assert all(model["contract"]["enforced"] for model in contracts)
    assert {exposure["name"] for exposure in manifest["exposures"].values()} == {
        "model_training", "recruiters_queue", "hr_partners_queue", "hr_dashboards",
    }  # fmt: skip


def test_no_clock_in_the_sql(settings):
    clock = re.compile(
        r"\b(now\s*\(|current_(date|time|timestamp)|localtime|clock_timestamp|statement_timestamp)"
    )
    project = settings.project / "dbt"
    found = [
        path.relative_to(project)
        for folder in ("models", "macros", "tests")
        for path in (project / folder).rglob("*.sql")
        if clock.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
