"""Frames as of a time: nothing known later is in them, and a backfill equals what running live gave."""

import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import small_company as company
from hrloop import features, labels, usecase
from hrloop.learning import Fitted
from hrloop.learning.calibration import Platt
from hrloop.learning.encoding import Column, Encoder
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

MOMENTS = st.datetimes(
    company.START.replace(tzinfo=None) + timedelta(days=60),
    company.END.replace(tzinfo=None),
    timezones=st.just(UTC),
)
INSTANT = timedelta(microseconds=1)
READ = ["+feat_application", "+fct_decisions", "+int_outcome_milestone_versions", "warehouse_standing"]


@pytest.fixture(scope="module")
def recruitment(server) -> usecase.UseCase:
    return usecase.load("recruitment", server.settings.project)


def frames(warehouse, use_case, as_of: datetime) -> dict[str, pd.DataFrame]:
    return {
        "scoring": features.scoring_frame(warehouse, use_case, as_of),
        "training": features.training_frame(warehouse, use_case, as_of),
        "labels": labels.frame(warehouse, use_case, as_of),
    }


def content(table: pd.DataFrame) -> bytes:
    """Every value and type of a frame, as bytes."""
    return (str(table.dtypes.to_dict()) + table.to_json(double_precision=15, date_unit="us")).encode()


@pytest.fixture(scope="module")
def rows() -> company.Rows:
    return company.random_rows(seed=7, applications=60)


@pytest.fixture(scope="module")
def standing(server, tmp_path_factory, rows):
    """A warehouse that stands at the end of everything."""
    with company.fresh(server, tmp_path_factory.mktemp("features")) as warehouse:
        company.insert(warehouse, rows)
        company.build(warehouse, company.END, READ)
        yield warehouse


# Each example builds three warehouses: two examples are what a test run can afford, and shrinking a failure
# would take minutes.
@given(seed=st.integers(0, 100_000))
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_backfill_equals_live(warehouse, recruitment, seed: int):
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    rows = company.random_rows(seed)
    corrected = rng.choice(rows.tables["ats.application_events"] + rows.tables["hris.reviews"])
    moments = [company.START + rng.uniform(0.2, 0.9) * (company.END - company.START), corrected["known_at"]]
    company.clear(warehouse)
    company.insert(warehouse, rows)
    company.build(warehouse, company.END, READ)
    backfilled = {at: frames(warehouse, recruitment, at) for at in moments}
    for at in sorted(moments, reverse=True):
        company.forget_after(warehouse, at)
        company.build(warehouse, at, READ)
        for name, live in frames(warehouse, recruitment, at).items():
            assert_frame_equal(backfilled[at][name], live, check_exact=True)
            assert content(backfilled[at][name]) == content(live), name


@given(as_of=MOMENTS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_training_frame_holds_what_was_known(standing, recruitment, rows, as_of: datetime):
    table = features.training_frame(standing, recruitment, as_of)
    expected = {}
    for decision in rows.decisions:
        if decision["as_of"] < as_of:
            expected[decision["case_key"]] = decision["as_of"], decision["as_of"], 0.25
    by_loop = {decision["case_key"] for decision in rows.decisions}
    for case in {row["application_id"] for row in rows.tables["ats.applications"]} - by_loop:
        decided = company.first_event(rows, case)
        if decided and decided[0] < as_of and decided[1] <= as_of:
            expected[case] = *decided, None
    found = {row.case_key: row for row in table.itertuples()}
    known_then = {
        case: company.application(rows, case, decided_at) for case, (decided_at, _, _) in expected.items()
    }
    assert set(found) == {case for case, application in known_then.items() if application}
    for case, row in found.items():
        decided_at, _, propensity = expected[case]
        assert row.decided_at == decided_at
        assert (None if pd.isna(row.selection_propensity) else row.selection_propensity) == propensity
        assert_features(row, known_then[case], company.requisition(rows, row.group_key, decided_at))
        outcome = company.outcome(rows, case, 12, as_of)
        assert row.selected == (outcome is not None)
        assert (row.label_status, None if pd.isna(row.label) else row.label) == (outcome or (None, None))
        if outcome is None:
            assert pd.isna(row.label_known_at)
        else:
            assert row.label_known_at <= as_of
            assert company.outcome(rows, case, 12, row.label_known_at) == outcome
            assert company.outcome(rows, case, 12, row.label_known_at - INSTANT) != outcome


@given(as_of=MOMENTS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_scoring_frame_holds_the_open_cases(standing, recruitment, rows, as_of: datetime):
    table = features.scoring_frame(standing, recruitment, as_of)
    decided = {decision["case_key"] for decision in rows.decisions if decision["as_of"] < as_of}
    expected = {}
    for case in {row["application_id"] for row in rows.tables["ats.applications"]} - decided:
        event = company.first_event(rows, case)
        application = company.application(rows, case, as_of)
        if application and (event is None or event[1] > as_of):
            expected[case] = application
    assert table["case_key"].tolist() == sorted(expected)
    for row in table.itertuples():
        assert_features(row, expected[row.case_key], company.requisition(rows, row.group_key, as_of))


def assert_features(row, application: dict, requisition: dict | None) -> None:
    """The features of a frame's row, from the source rows that stood then."""

    def value(number: float) -> float | None:
        return None if pd.isna(number) else number

    stated = set(application["skills"].split("|"))
    required = set(requisition["required_skills"].split("|")) if requisition else None
    years = application["years_experience"].strip()
    assert value(row.years_experience) == (float(years) if years not in ("", "NaN") else None)
    assert value(row.assessment_score) == (
        float(application["assessment_score"]) if application["assessment_score"] else None
    )
    assert row.job_family == (requisition["job_family"] if requisition else None)
    assert row.skills_count == len(stated)
    assert value(row.skills_matched) == (len(stated & required) if requisition else None)
    assert row.source_channel == "referral"


def test_decisions_of_this_round_are_scored_again_and_of_earlier_ones_not(standing, recruitment, rows):
    taken = next(decision for decision in rows.decisions)
    again = features.scoring_frame(standing, recruitment, taken["as_of"])
    later = features.scoring_frame(standing, recruitment, taken["as_of"] + timedelta(minutes=1))
    assert taken["case_key"] in again["case_key"].tolist()
    assert taken["case_key"] not in later["case_key"].tolist()


def test_frames_have_the_declared_types_even_when_empty(standing, recruitment):
    empty = features.scoring_frame(standing, recruitment, datetime(2020, 1, 1, tzinfo=UTC))
    full = features.scoring_frame(standing, recruitment, company.START + timedelta(days=300))
    assert len(empty) == 0
    assert len(full) > 0
    assert list(full) == [*features.KEYS, "period", *recruitment.feature_names]
    for feature in recruitment.features:
        for table in (empty, full):
            assert table[feature.name].dtype == ("object" if feature.type == "category" else "float64")


def test_a_column_that_is_not_there_is_named(standing, recruitment):
    invented = recruitment.features[0].model_copy(update={"name": "shoe_size"})
    use_case = recruitment.model_copy(update={"features": (*recruitment.features, invented)})
    with pytest.raises(features.FeatureError, match=r"feat_application has no column shoe_size\. Add it"):
        features.scoring_frame(standing, use_case, company.START)


def test_what_a_version_reads_beside_the_declaration_comes_last_while_it_is_there(standing, recruitment):
    """A feature taken out of the declaration is still there for the version that learnt from it."""
    of_type = {one.type: one for one in recruitment.features}
    out = [of_type["category"], of_type["number"]]
    kept = tuple(one for one in recruitment.features if one not in out)
    fewer = recruitment.model_copy(update={"features": kept})
    columns = [*recruitment.features, recruitment.features[0].model_copy(update={"name": "shoe_size"})]
    encoder = Encoder(tuple(Column(one.name, one.type) for one in columns))
    older = Fitted("recruitment", "long ago", encoder, Platt(), b"", {})
    beside = [one.name for one in recruitment.features if one in out]
    for read in (features.scoring_frame, features.training_frame):
        as_of = company.START + timedelta(days=300)
        plain, wide, whole = (
            read(standing, fewer, as_of),
            read(standing, fewer, as_of, [older, older]),
            read(standing, recruitment, as_of),
        )
        assert list(wide) == [*plain, *beside], "and nothing of what the feature table never had"
        assert_frame_equal(wide[list(plain)], plain)
        assert_frame_equal(wide[beside], whole[beside])
        assert_frame_equal(read(standing, recruitment, as_of, [older]), whole)


def test_the_future_is_refused(standing, recruitment):
    with pytest.raises(labels.StaleWarehouse, match=r"stands at 2025-06-01.*cannot be read as of 2025-06-02"):
        features.training_frame(standing, recruitment, company.END + timedelta(days=1))


def test_decisions_that_are_not_built_yet_are_missed(standing, recruitment, rows):
    late = {**rows.decisions[0], "decision_id": "d-new", "case_key": "Anew"}
    with company.fresh_copy(standing) as warehouse:
        company.insert(warehouse, company.Rows(decisions=[late]))
        with pytest.raises(labels.StaleWarehouse, match=r"1 decision\(s\).*Build the warehouse again"):
            features.training_frame(warehouse, recruitment, company.END)


def test_an_empty_warehouse_is_refused(warehouse, recruitment):
    with pytest.raises(labels.StaleWarehouse, match="has not been built"):
        features.scoring_frame(warehouse, recruitment, company.END)


def test_protected_attributes_are_read_as_known_then_and_numbers_come_in_bands(standing, recruitment, rows):
    frame = features.protected_frame(standing, recruitment, company.END)
    assert frame["case_key"].is_unique
    assert list(frame.columns) == ["case_key", "gender", "birth_year"]
    bands = {"below 1967", "1967 to below 1987", "1987 and above"}
    assert set(frame["birth_year"].dropna()) <= bands
    assert features.protected_frame(standing, recruitment, company.START - timedelta(days=900)).empty


def test_bands_hold_their_edges():
    found = features._banded(pd.Series(["1966", "1967", "1986", "1987", None, "n/a"]), [1967, 1987])
    assert found.tolist() == [
        "below 1967",
        "1967 to below 1987",
        "1967 to below 1987",
        "1987 and above",
        None,
        None,
    ]
