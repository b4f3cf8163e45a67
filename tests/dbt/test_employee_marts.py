"""The marts of attrition early warning, held to references that go through the source rows one by one."""

import math
import statistics
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import small_company as company
from hrloop import features, labels, usecase
from lifelines import KaplanMeierFitter
from pandas.testing import assert_frame_equal

READ = ["+feat_employee_month", "+fct_decisions", "+int_outcome_milestone_versions", "warehouse_standing"]
MONTH = 30.4375  # days


@pytest.fixture(scope="module")
def attrition(server) -> usecase.UseCase:
    """A declaration of what is read here: keys, milestones, a feature of each type."""
    base = usecase.load("recruitment", server.settings.project)
    keys = {"case_key": "employee_month_id", "subject_key": "employee_key", "group_key": "area"}
    decision = base.decision.model_copy(update={"feature_table": "features.feat_employee_month", **keys})
    types = {"overtime_hours_change": "number", "survey_down": "boolean", "department": "category"}
    listed = (usecase.Feature(name=name, type=kind, description="-" * 3) for name, kind in types.items())
    outcome = base.outcome.model_copy(update={"milestones": (3, 6), "label_milestone": 6})
    update = {"name": "attrition", "decision": decision, "features": tuple(listed), "outcome": outcome}
    return base.model_copy(update=update)


@pytest.fixture(scope="module")
def rows() -> company.Rows:
    return company.random_staff(seed=5)


@pytest.fixture(scope="module")
def standing(server, tmp_path_factory, rows):
    with company.fresh(server, tmp_path_factory.mktemp("employees")) as warehouse:
        company.insert(warehouse, rows)
        company.build(warehouse, company.END)
        yield warehouse


@pytest.fixture(scope="module")
def spare(standing):
    """A copy for tests that put other rows into it; each builds what it reads."""
    with company.fresh_copy(standing) as warehouse:
        yield warehouse


def cases(rows: company.Rows) -> dict[str, tuple]:
    """Each case that was decided upon: (employee, month, decided_at, known_at, recommended action)."""
    by_loop = {decision["case_key"]: decision for decision in rows.decisions}
    found = {}
    for (employee, month), (opened, closed) in company.openings(rows).items():
        case = f"k-{employee}:{month[:7]}"
        if case in by_loop:
            taken = by_loop[case]
            found[case] = employee, month, taken["as_of"], taken["as_of"], taken["recommended_action"]
        elif closed and opened < closed:
            found[case] = employee, month, opened, closed, None
    return found


def test_resignations_are_what_was_known(standing, attrition, rows):
    seen = set()
    for days in range(150, (company.END - company.START).days, 90):
        as_of = company.START + timedelta(days=days, hours=5)
        expected = {}
        for case, (employee, month, decided_at, known_at, action) in cases(rows).items():
            for months in (3, 6):
                outcome = company.resignation(rows, employee, month, decided_at, known_at, months, as_of)
                if outcome is not None and action != "alert":
                    expected[case, months] = outcome
        table = labels.frame(standing, attrition, as_of)
        found = {
            (row.case_key, row.milestone_months): (
                row.label_status,
                None if pd.isna(row.label) else row.label,
                None if pd.isna(row.ended_on) else row.ended_on,
            )
            for row in table.itertuples()
        }
        assert found == expected, as_of
        seen |= {(status, value) for status, value, _ in found.values()}
    everything = {
        ("observed", 0.0),
        ("observed", 1.0),
        ("pending", None),
        ("missing", None),
        ("censored", None),
    }
    assert seen == everything, "the reference was not put to the test"


def test_the_open_months_are_scored_and_the_closed_ones_learnt_from(standing, attrition, rows):
    decided = cases(rows)
    scored = 0
    for days in (200, 400, 500, 650):
        as_of = company.START + timedelta(days=days, hours=7)
        opened = {
            f"k-{employee}:{month[:7]}"
            for (employee, month), (opened, closed) in company.openings(rows).items()
            if opened <= as_of and (closed is None or closed > as_of)
        }
        taken = {decision["case_key"] for decision in rows.decisions if decision["as_of"] < as_of}
        found = features.scoring_frame(standing, attrition, as_of)
        assert found["case_key"].tolist() == sorted(opened - taken)
        scored += len(found)
        learnt = features.training_frame(standing, attrition, as_of).set_index("case_key")
        assert set(learnt.index) == {
            case for case, (_, _, at, known, _) in decided.items() if at < as_of and known <= as_of
        }
        assert {case for case in learnt.index if not learnt.at[case, "selected"]} == {
            case for case in learnt.index if decided[case][4] == "alert"
        }
    assert scored > 10


def number(text: str | None) -> float | None:
    return None if text in (None, "", "NaN") else float(text)


def mean(values: list) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def expected_features(
    rows: company.Rows, employee: str, month: str, opened: datetime, first: datetime
) -> dict:
    """The features of a month as its row first came; of others as the month's first row came."""
    today = opened.date()

    def own(table: str, day: str) -> list[dict]:
        standing = rows.standing(table, opened).values()
        mine = [row for row in standing if row["employee_id"] == employee and row[day] <= today.isoformat()]
        return sorted(mine, key=lambda row: row[day])

    def months_since(day: str | None, at_most: float = math.inf) -> float | None:
        return None if day is None else min((today - date.fromisoformat(day)).days / MONTH, at_most)

    def index(day: str) -> int:
        return int(day[:4]) * 12 + int(day[5:7])

    worked = {index(row["month"]): row for row in own("hris.work_months", "month")}
    now = index(month)
    before = [worked[at] for at in range(now - 12, now - 3) if at in worked]
    result: dict = {"baseline_months": len(before)}
    for measure in company.MEASURES:
        last = [number(worked[at][measure]) for at in range(now - 2, now + 1) if at in worked]
        own_baseline = [value for row in before if (value := number(row[measure])) is not None]
        baseline = mean(own_baseline) if len(before) >= 6 else None
        spread = statistics.stdev(own_baseline) if len(own_baseline) > 1 else None
        change = minus(mean(last), baseline)
        result |= {
            measure: number(worked[now][measure]), f"{measure}_mean_3": mean(last),
            f"{measure}_baseline": baseline, f"{measure}_change": change,
            f"{measure}_change_in_spreads": change / spread if change is not None and spread else None,
        }  # fmt: skip
    answers = own("hris.surveys", "surveyed_on")
    for score in ("engagement", "enps", "manager_score"):
        given = [number(row[score]) for row in answers]
        result[score] = given[-1] if given else None
        result[f"{score}_change"] = minus(result[score], mean(given[:-1]))
    result["surveys_answered"] = len(answers)
    result["months_since_survey"] = months_since(answers[-1]["surveyed_on"]) if answers else None

    overtime, messages = (result[f"{name}_change_in_spreads"] for name in ("overtime_hours", "messages_sent"))
    falls = [overtime, minus(0, messages), minus(0, result["engagement_change"])]
    signals = [None if value is None else value >= 1 for value in falls]
    rises = [None if value is None else max(value, 0.0) for value in falls]
    result |= dict(zip(("overtime_up", "messages_down", "survey_down"), signals, strict=True))
    result["signals_together"] = None if None in signals else sum(signals)
    result["overtime_rise_by_messages_fall"] = None if None in rises[:2] else rises[0] * rises[1]
    result["all_signals_product"] = None if None in rises else rises[0] * rises[1] * rises[2]

    record = company.position(rows, employee, opened)
    result |= {"department": record and record["department"], "job_level": record and record["job_level"]}
    result["tenure_months"] = record and months_since(record["hired_on"], 120)
    for fact, name in (("pay", "monthly_salary"), ("level", "job_level"), ("manager", "manager_id")):
        changed = record and record["changed"][name]
        result[f"months_since_{fact}_change"] = record and months_since(changed or record["hired_on"], 36)
    moved = record and record["changed"]["manager_id"]
    result["manager_changed_12_months"] = bool(
        moved and today < company.add_months(date.fromisoformat(moved), 12)
    )
    rated = [row for row in own("hris.reviews", "period_end") if row["rating"]]
    result["last_rating"] = float(rated[-1]["rating"]) if rated else None
    result["rating_change"] = (
        float(rated[-1]["rating"]) - float(rated[-2]["rating"]) if len(rated) > 1 else None
    )
    result["interventions_12_months"] = sum(
        today < company.add_months(date.fromisoformat(row["started_on"]), 12)
        for row in own("hris.interventions", "started_on")
    )
    result |= _of_others(rows, record, first)
    return result | {"month_of_year": int(month[5:7])}


def _of_others(rows: company.Rows, record: dict | None, first: datetime) -> dict:
    """Pay against the median of five peers or more, and the team of the manager."""
    today = first.date()
    ends = {
        row["employee_id"]: date.fromisoformat(row["terminated_on"])
        for row in rows.standing("hris.terminations", first).values()
        if row["terminated_on"] < today.isoformat()
    }
    everybody = {row["employee_id"] for row in rows.tables["hris.employees"]}
    people = [found for one in everybody if (found := company.position(rows, one, first))]
    for one in people:
        left = ends.get(one["employee_id"])
        one["left"] = left if left and left.isoformat() >= one["hired_on"] else None
    staying = [one for one in people if one["left"] is None]
    team = [one for one in people if record and one["manager_id"] == record["manager_id"]]
    pay = [
        float(one["monthly_salary"])
        for one in staying
        if record and all(one[name] == record[name] for name in ("job_family", "job_level"))
    ]
    left = [one["left"] for one in team if one["left"]]
    size = sum(one["left"] is None for one in team)

    def share_left(months: int) -> float | None:
        leavers = sum(day >= company.add_months(today, -months) for day in left)
        return leavers / (size + leavers) if size + leavers else None

    return {
        "pay_to_peers": float(record["monthly_salary"]) / statistics.median(pay) if len(pay) >= 5 else None,
        "team_size": size if team else None,
        "team_leavers_share_3_months": share_left(3),
        "team_leavers_share_6_months": share_left(6),
    }


def test_features_are_what_was_known_when_the_month_opened(standing, rows):
    table = standing.read("engine", "select * from features.feat_employee_month").to_pylist()
    found = {row["employee_month_id"]: row for row in table}
    opened = company.openings(rows)
    first = {
        month: min(at for (_, other), (at, _) in opened.items() if other == month) for _, month in opened
    }
    assert found.keys() == {f"k-{employee}:{month[:7]}" for employee, month in opened}
    filled = set()
    for (employee, month), (at, closed) in opened.items():
        row = found[f"k-{employee}:{month[:7]}"]
        expected = expected_features(rows, employee, month, at, first[month])
        assert (row["open_from"], row["open_to"], row["known_from"]) == (at, closed, at)
        assert {name: row[name] for name in expected} == pytest.approx(expected), (employee, month)
        filled |= {name for name, value in expected.items() if value}
    assert filled == expected.keys(), "the reference was not put to the test"


def test_backfill_equals_live(spare, attrition):
    rows = company.random_staff(seed=8, employees=16)
    as_of = company.START + timedelta(days=610, hours=3)
    frames = (features.scoring_frame, features.training_frame, labels.frame)
    company.clear(spare)
    company.insert(spare, rows)
    company.build(spare, company.END, READ)
    backfilled = [frame(spare, attrition, as_of) for frame in frames]
    company.forget_after(spare, as_of)
    company.build(spare, as_of, READ)
    for frame, before in zip(frames, backfilled, strict=True):
        assert len(before) > 0
        assert_frame_equal(before, frame(spare, attrition, as_of), check_exact=True)


def employments(rows: company.Rows) -> pd.DataFrame:
    """Each employment at the end: its year, its days on record (counted from the first day), how it ended."""
    today = company.END.date()
    ends = rows.standing("hris.terminations", company.END)
    began = min(date.fromisoformat(row["terminated_on"]) for row in ends.values())
    lives = []
    for employee in sorted({row["employee_id"] for row in rows.tables["hris.employees"]}):
        hired = date.fromisoformat(company.position(rows, employee, company.END)["hired_on"])
        end = ends.get((employee,), {"terminated_on": "2200-01-01", "kind": ""})
        left = date.fromisoformat(end["terminated_on"])
        left = left if left >= hired else date(2200, 1, 1)
        lives.append(
            {
                "year": str(hired.year),
                "entry": max((began - hired).days, 0),
                "days": (min(left, today) - hired).days,
                "left": left <= today and end["kind"] in ("voluntary", "involuntary"),
                "censored_early": left <= today and end["kind"] not in ("voluntary", "involuntary"),
            }
        )
    table = pd.DataFrame(lives)
    return table[(table["days"] > table["entry"]) | (table["entry"] == 0)]


def test_retention_is_kaplan_and_meiers(spare):
    rows = company.random_staff(seed=2, employees=120)
    lives = employments(rows)
    company.clear(spare)
    company.insert(spare, rows)
    company.build(spare, company.END, ["+retention"])
    kpi = spare.read("analyst", "select * from kpi.retention").to_pandas()
    kpi = kpi.set_index(["cohort", "months"])
    assert set(kpi.index.get_level_values("cohort")) == {
        "all", *(year for year, cohort in lives.groupby("year") if cohort["entry"].min() == 0)
    }  # fmt: skip
    compared = 0
    for (cohort, months), row in kpi.iterrows():
        of = lives if cohort == "all" else lives[lives["year"] == cohort]
        fitted = KaplanMeierFitter().fit(of["days"], of["left"], entry=of["entry"])
        at = months * MONTH
        assert row["employees"] == len(of)
        assert row["events"] == (of["left"] & (of["days"] <= at)).sum()
        assert row["at_risk"] == ((of["entry"] <= at) & (of["days"] >= at)).sum()
        if row["at_risk"] == 0:
            assert pd.isna(row["retention"])
            continue
        interval = fitted.confidence_interval_survival_function_
        there = interval.index[interval.index <= at][-1]
        assert row["retention"] == pytest.approx(fitted.predict(at), abs=1e-9)
        if row["events"] == 0:
            assert pd.isna(row["retention_low"])
            continue
        assert row["retention_low"] == pytest.approx(interval.loc[there].iloc[0], abs=1e-9)
        assert row["retention_high"] == pytest.approx(interval.loc[there].iloc[1], abs=1e-9)
        compared += 1
    assert compared >= 4
    everybody = kpi.loc[("all", 24), "retention"]
    stayed = lives.assign(days=np.where(lives["censored_early"], 10_000, lives["days"]))
    dropped = lives[~lives["censored_early"]]
    for wrong in (stayed, dropped):
        naive = (
            KaplanMeierFitter().fit(wrong["days"], wrong["left"], entry=wrong["entry"]).predict(24 * MONTH)
        )
        assert abs(naive - everybody) > 0.005


def put(warehouse, table: str, frame: pd.DataFrame) -> None:
    """Rows in the place of those that dbt built."""
    with warehouse.engine("transformer").begin() as connection:
        connection.exec_driver_sql(f"truncate {table}")
        schema, name = table.split(".")
        frame.to_sql(name, connection, schema=schema, if_exists="append", index=False)


def arms(counts: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """So many resigned of so many in each arm, all randomised and matured, everybody once."""
    frames = [
        pd.DataFrame({"arm": arm, "resigned": np.arange(cases) < resigned})
        for arm, (resigned, cases) in counts.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["employee_key"] = frame["decision_id"] = [f"e{number}" for number in range(len(frame))]
    return frame.assign(
        use_case="attrition", decided_on=date(2024, 1, 31), is_randomised=True, is_matured=True
    )


def test_intervals_are_wilsons_and_newcombes(spare):
    """The examples of Newcombe 1998, Statistics in Medicine 17: 857–872 (method 3), 873–890 (method 10)."""
    counts = {"alerted": (81, 263), "held out": (15, 148), "not alerted": (0, 20)}
    put(spare, "intermediate.int_alert_outcomes", arms(counts))
    company.build(spare, company.END, ["alert_precision"])
    shares = spare.read("analyst", "select * from kpi.alert_precision").to_pandas().set_index("arm")
    intervals = {"alerted": [0.2553, 0.3662], "held out": [0.0624, 0.1605], "not alerted": [0.0, 0.1611]}
    for arm, interval in intervals.items():
        found = shares.loc[arm, ["resigned_low", "resigned_high"]].tolist()
        assert found == pytest.approx(interval, abs=5e-5)
    for treated, untreated, expected in (
        ((56, 70), (48, 80), [0.2000, 0.0524, 0.3339]),
        ((9, 10), (3, 10), [0.6000, 0.1705, 0.8090]),
        ((0, 10), (0, 20), [0.0000, -0.1611, 0.2775]),
    ):
        put(spare, "intermediate.int_alert_outcomes", arms({"alerted": treated, "held out": untreated}))
        company.build(spare, company.END, ["intervention_success"])
        found = spare.read("analyst", "select * from kpi.intervention_success").to_pylist()
        assert [row["basis"] for row in found] == ["randomised"]
        interval = [found[0][name] for name in ("difference", "difference_low", "difference_high")]
        assert interval == pytest.approx(expected, abs=5e-5)


def test_a_use_case_that_is_not_declared_has_no_rows(spare, rows):
    recruitment_alone = {"use_cases": {"recruitment": company.DECLARED["use_cases"]["recruitment"]}}
    of_all = ("outcomes.fct_decisions", "outcomes.fct_outcome_milestones", "kpi.early_warning")
    company.clear(spare)
    company.insert(spare, rows)
    select = [f"+{table.split('.')[1]}" for table in of_all]
    for declared, there in ((company.DECLARED, True), (recruitment_alone, False)):
        company.build(spare, company.END, select, declared)
        for table in of_all:
            count = f"select count(*) as rows from {table} where use_case = 'attrition'"
            assert (spare.read("engine", count)["rows"][0].as_py() > 0) == there, table


def test_figures_of_the_warned_add_up(standing, rows):
    decided = standing.read("analyst", "select sum(decisions) as decisions from kpi.alert_precision")
    assert decided["decisions"][0].as_py() == len(rows.decisions)
    exits = standing.read("analyst", "select sum(resignations) as exits from kpi.early_warning")
    ends = rows.standing("hris.terminations", company.END).values()
    assert exits["exits"][0].as_py() == sum(row["kind"] == "voluntary" for row in ends)
    milestones = standing.read(
        "analyst",
        "select milestone_months, sum(observed + missing + pending + censored)::integer as outcomes"
        " from kpi.feedback_completeness where use_case = 'attrition' group by milestone_months",
    )
    untouched = sum(action != "alert" for *_, action in cases(rows).values())
    assert milestones["outcomes"].to_pylist() == [untouched, untouched]
