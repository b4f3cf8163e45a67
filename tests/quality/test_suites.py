"""The suites in expectations/: one per source table, in step with the contract; mistakes are named."""

import ast
import shutil

import pytest
import yaml
from hrloop.quality.suites import SuiteError, load_suites, synonyms
from hrloop.settings import PROJECT
from hrloop.sources import contract
from judged import DAY, application, employee, requisition


def test_every_source_table_has_a_suite_after_those_it_refers_to():
    suites = load_suites(PROJECT)
    assert set(suites) == set(contract.load())
    names = list(suites)
    for name, suite in suites.items():
        for reference in suite.references:
            assert names.index(reference.table) < names.index(name)


def test_critical_fields_are_those_of_the_contract():
    for name, suite in load_suites(PROJECT).items():
        critical = suite.completeness.critical if suite.completeness else ()
        assert sorted(critical) == sorted(contract.load()[name].critical), name


def test_every_threshold_has_a_reason():
    def reasons(part) -> None:
        thresholds = {
            key for key in part if key.startswith(("minimum", "maximum", "within", "breaks", "type"))
        }
        assert not thresholds or len(part["reason"]) > 20, part
        if "group_minimum_rows" in part:
            assert len(part["group_reason"]) > 20, part
        for value in part.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    reasons(inner)

    for path in (PROJECT / "expectations").glob("*/*.yaml"):
        reasons(yaml.safe_load(path.read_text()))


def test_the_taxonomy_is_that_of_dbt():
    taxonomy = load_suites(PROJECT)["ats.applications"].taxonomy[0]
    assert {"python", "ms excel"} <= set(synonyms(PROJECT, taxonomy))


@pytest.fixture
def project(tmp_path):
    """A checkout whose suites may be spoilt."""
    shutil.copytree(PROJECT / "expectations", tmp_path / "expectations")
    (tmp_path / "dbt").mkdir()
    shutil.copytree(PROJECT / "dbt" / "seeds", tmp_path / "dbt" / "seeds")
    return tmp_path


def change(project, table: str, edit) -> None:
    path = project / "expectations" / f"{table.replace('.', '/')}.yaml"
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document))
    load_suites.cache_clear()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda d: d["completeness"].pop("reason"),
            "completeness.reason: missing; say where the number comes from",
        ),
        (lambda d: d["freshness"].update(max_age=3), "freshness.max_age: unknown key; correct its spelling"),
        (lambda d: d["completeness"].update(minimum_percent=101), "completeness.minimum_percent: "),
        (
            lambda d: d["completeness"]["critical"].remove("skills"),
            r"completeness.critical: .* make them agree",
        ),
        (
            lambda d: d["completeness"].update(groups=["gender"]),
            "completeness.groups: gender is no column to group by",
        ),
        (lambda d: d["completeness"].update(groups=["sitee"]), "completeness.groups: sitee is no column"),
        (lambda d: d["taxonomy"][0].update(synonyms="no.csv"), r"taxonomy.0.synonyms: there is no .*no.csv"),
        (
            lambda d: d["references"][0].update(table="ats.feedback"),
            "references.0.table: ats.feedback is no table whose",
        ),
        (
            lambda d: d["rules"][0].update(columns=["birth_year"]),
            "rules.0.columns: birth_year is unknown, personal",
        ),
        (lambda d: d["rules"].append(d["rules"][0]), "stands there twice; give each rule a name of its own"),
        (lambda d: d["rules"][0].update(name="Bad Name"), "rules.0.name: "),
        (
            lambda d: d.update(table="ats.feedback"),
            "table: is ats.feedback, but the file is that of ats.applications",
        ),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_remedy(project, edit, message):
    change(project, "ats.applications", edit)
    with pytest.raises(SuiteError, match=message) as caught:
        load_suites(project)
    assert "expectations/ats/applications.yaml: " in str(caught.value)


def test_a_missing_suite_and_one_too_many_are_refused(project):
    path = project / "expectations" / "ats" / "feedback.yaml"
    load_suites.cache_clear()
    path.rename(path.with_name("feedbacks.yaml"))
    with pytest.raises(SuiteError, match=r"the source contract has no table ats.feedbacks"):
        load_suites(project)
    path.with_name("feedbacks.yaml").unlink()
    with pytest.raises(SuiteError, match=r"feedback.yaml: missing; every source table needs a suite"):
        load_suites(project)


def test_references_must_not_go_round_in_a_circle(project):
    circle = {
        "column": "employee_id",
        "table": "hris.terminations",
        "within_hours": 1,
        "reason": "a circle for once",
    }
    change(project, "hris.employees", lambda d: d.update(references=[circle]))
    with pytest.raises(SuiteError, match="go round in a circle"):
        load_suites(project)


# What an adopter may add ------------------------------------------------------------------------------------


def adopt(company, project, table, edit) -> None:
    change(project, table, edit)
    company.settings = company.settings.model_copy(update={"project": project})


def test_expectations_of_great_expectations_own_may_be_added(company, project):
    extra = {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "years_experience", "min_value": 2, "max_value": 20},
        "reason": "Nobody applies with less on average, or a column was swapped.",
    }
    adopt(company, project, "ats.applications", lambda d: d.update(expectations=[extra]))
    company.file("ats.requisitions", [requisition()])
    company.file("ats.applications", [application(n, years_experience=str(n % 10)) for n in range(40)])
    company.file(
        "ats.applications", [application(n, years_experience="1") for n in range(40, 80)], f"{DAY}-other"
    )
    report = company.gate()
    (failure,) = report.failures
    assert "min_value 2" in failure.detail
    assert (failure.batch, failure.check, failure.observed) == (f"{DAY}-other.csv", extra["type"], 1)
    assert company.status("ats.applications") == {f"{DAY}.csv": "passed", f"{DAY}-other.csv": "failed"}


def test_mistakes_in_added_expectations_are_named(company, project):
    extra = {"type": "expect_column_mean_to_be_between", "reason": "a reason for the test"}
    company.file("ats.requisitions", [requisition()])
    for change_, message in (
        ({"type": "expect_column_to_sing", "kwargs": {}}, "expectations.0: .*expect_column_to_sing"),
        ({"kwargs": {"colum": "headcount"}}, "expectations.0: .*colum"),
        (
            {"kwargs": {"column": "hiring_manager_id"}},
            "expectations.0.kwargs: hiring_manager_id names or desc",
        ),
    ):
        added = extra | change_
        adopt(company, project, "ats.requisitions", lambda d, added=added: d.update(expectations=[added]))
        with pytest.raises(SuiteError, match=r"(?s)expectations/ats/requisitions.yaml: " + message):
            company.gate()


def test_a_failed_batch_is_judged_again_when_its_suite_has_changed_and_only_then(company, project):
    adopt(company, project, "ats.applications", lambda d: None)
    company.file("ats.requisitions", [requisition()])
    rows = [application(n, years_experience="" if n < 8 else "5", skills="falconry") for n in range(100)]
    company.file("ats.applications", rows)
    assert {f.check for f in company.gate().failures} == {"completeness", "taxonomy"}
    assert company.gate("2026-09-02").batches == []
    change(project, "ats.applications", lambda d: d["completeness"].update(minimum_percent=92))
    assert {f.check for f in company.gate("2026-09-03").failures} == {"taxonomy"}
    with (project / "dbt" / "seeds" / "skill_synonyms.csv").open("a") as seed:
        seed.write("falconry,falconry\n")
    report = company.gate("2026-09-04")
    assert report.passed, report.failures
    assert company.status("ats.applications") == {f"{DAY}.csv": "passed"}
    assert company.rows("select count(*) from loop.gate_results where not passed") == [(0,)]


def test_a_rule_that_is_no_sql_over_the_table_is_named(company, project):
    spoilt = {
        "name": "spoilt_rule",
        "columns": ["job_level"],
        "says": "spoilt",
        "reason": "for the test alone",
    }
    company.file("hris.employees", [employee(1)])
    for breaks in ("fte >", "no_such_column = 1", "gender = 'f'", "1 / 0 > fte"):
        rule = spoilt | {"breaks": breaks}
        adopt(company, project, "hris.employees", lambda d, rule=rule: d.update(rules=[rule]))
        with pytest.raises(SuiteError, match=r"expectations/hris/employees.yaml: rules.spoilt_rule.breaks: "):
            company.gate()
        assert company.status("hris.employees") == {f"{DAY}.csv": "loaded"}


def test_a_rule_may_hold_times_and_colons(company, project):
    rule = {
        "name": "half_past_ten",
        "columns": ["opened_at"],
        "breaks": "opened_at = '2026-07-01 10:30:00+00'::timestamptz or title = 'a:b'",
        "says": "no requisition opens at 10:30, says rule:one",
        "reason": "a reason for the test",
    }
    adopt(company, project, "ats.requisitions", lambda d: d["rules"].append(rule))
    company.file(
        "ats.requisitions",
        [requisition(1), requisition(2, opened_at="2026-07-01T10:30:00Z"), requisition(3, title="a:b")],
    )
    assert company.gate().passed
    assert set(company.quarantine("ats.requisitions")) == {"R2", "R3"}


def test_great_expectations_is_not_imported_with_the_package():
    """It takes seconds, and Airflow imports the rhythms whenever it reads a DAG."""
    eager = ["__init__", "gate", "quarantine", "rules", "suites", "verdicts"]
    for name in eager:
        module = ast.parse((PROJECT / "plugins" / "hrloop" / "quality" / f"{name}.py").read_text())
        imported = [
            ast.unparse(node) for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        lazy = ("great_expectations", "quality.checks", "quality.expectations", "quality.validation")
        assert not [line for line in imported if any(part in line for part in lazy)], name
