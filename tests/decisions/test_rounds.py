"""Decision rounds on a real warehouse, with a champion on a real MLflow server."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hrloop import decisions, features, release, services
from hrloop.decisions import DecisionError, policy
from hrloop.learning import MissingColumn, fit
from hrloop.learning.calibration import Platt
from hrloop.release import Finding, UnreadableModel, experiments
from hrloop.warehouse import Warehouse
from hrloop.warehouse.fingerprint import fingerprint
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

KEY = "a key of the tests"


# --- the rows of a round, without any service ------------------------------------------------------------


@pytest.fixture
def table(small_case, fitted, cases, as_of):
    def make(n=200, use_case=small_case, model=None, frame=None) -> pd.DataFrame:
        frame = cases(n) if frame is None else frame
        return decisions.table_of(use_case, model or fitted(), 3, frame, as_of, KEY).to_pandas()

    return make


def test_one_row_per_case_with_the_model_s_figures(table, cases, fitted, as_of):
    rows, frame = table(), cases(200)
    assert rows["case_key"].tolist() == frame["case_key"].tolist()
    assert rows["score"].tolist() == fitted().score(frame).tolist()
    assert rows["probability"].tolist() == fitted().probability(frame).tolist()
    assert set(rows["model_version"]) == {3}
    assert rows["as_of"].dt.to_pydatetime().tolist() == [as_of] * 200
    assert rows["decision_id"].is_unique
    assert rows["decision_id"].str.fullmatch("[0-9a-f]{32}").all()


def test_each_group_advances_its_share_and_ranks_by_score(table, small_case):
    rows = table()
    for _, group in rows.groupby("group_key"):
        n = len(group)
        assert sorted(group["rank"]) == list(range(1, n + 1))
        assert set(group["group_size"]) == {n}
        assert group.sort_values("rank")["score"].is_monotonic_decreasing
        share = small_case.decision.advance_share.value
        assert (group["recommended_action"] == "advance").sum() == max(1, int(share * n + 0.5))


def test_confidence_is_that_of_the_recommended_action(table):
    rows = table()
    advance = rows["recommended_action"] == "advance"
    assert np.array_equal(rows["confidence"], np.where(advance, rows["probability"], 1 - rows["probability"]))


def test_exploration_is_what_the_rank_alone_would_not_have_given(table, small_case):
    rows = table(3000)
    cut = policy.places(rows["group_size"].to_numpy(), 0.2)
    by_rank = rows["rank"].to_numpy() <= cut
    turned = (rows["recommended_action"] == "advance").to_numpy() != by_rank
    assert np.array_equal(turned, rows["exploration"].to_numpy())
    near = rows["selection_propensity"].isin([0.1, 0.9])
    assert set(rows["selection_propensity"]) <= {0.0, 0.1, 0.9, 1.0}
    # A tenth of the cases near the cut: 4 standard errors of a pair's draw, two cases each
    assert rows.loc[near, "exploration"].mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 * 2 / near.sum()))


def test_routes_and_their_reasons(table, cases, small_case):
    frame = cases(3000)
    frame.loc[0, "job_family"] = "astronaut"
    frame.loc[1, "years_experience"] = 99.0
    rows = table(frame=frame)
    why = rows["route_reasons"].map(list)
    unsure = rows["confidence"] < 0.70
    assert (why.map(lambda reasons: "low_confidence" in reasons) == unsure).all()
    assert ((rows["route"] == "review") == why.map(bool)).all()
    assert "edge: job_family 'astronaut' was not seen in training" in why[0]
    assert any(reason.startswith("edge: years_experience 99 is outside") for reason in why[1])
    audited = why.map(lambda reasons: "audit" in reasons)
    assert audited.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 3000))
    # independent of how sure the model is: a random tenth of either kind
    assert audited[unsure].mean() == pytest.approx(audited[~unsure].mean(), abs=0.08)


def test_an_audit_is_the_same_tenth_again_and_nobody_s_under_another_key(
    table, small_case, fitted, cases, as_of
):
    rows = table()
    again = decisions.table_of(small_case, fitted(), 3, cases(200), as_of, KEY).to_pandas()
    pd.testing.assert_frame_equal(rows, again)
    other = decisions.table_of(small_case, fitted(), 3, cases(200), as_of, "another key").to_pandas()
    assert rows["route_reasons"].map(list).tolist() != other["route_reasons"].map(list).tolist()


def test_reasons_are_the_largest_contributions_of_the_routed(table, fitted, cases):
    rows, frame = table(), cases(200)
    contributions = fitted().contributions(frame)
    names = np.array(fitted().feature_names)
    for i, row in rows.iterrows():
        if row["route"] == "automatic":
            assert not isinstance(row["reasons"], str)
            continue
        told = json.loads(row["reasons"])
        order = np.argsort(-np.abs(contributions[i]))
        assert [reason["feature"] for reason in told] == names[order].tolist()  # all three of three
        assert told[0]["contribution"] == pytest.approx(contributions[i, order[0]], abs=1e-6)


def test_features_are_kept_exactly(table, cases):
    rows, frame = table(), cases(200)
    assert frame["years_experience"].isna().any()
    for kept, (_, given) in zip(rows["features"], frame.iterrows(), strict=True):
        assert list(kept) == ["years_experience", "job_family", "foreign_experience"]
        given = None if pd.isna(given["years_experience"]) else given["years_experience"]
        assert kept["years_experience"] == given


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_what_is_no_probability_decides_nothing(table, fitted, bad):
    class Broken(Platt):
        def probability(self, score):
            return np.where(np.arange(len(score)) == 7, bad, 0.5)

    with pytest.raises(DecisionError, match=rf"gives probability {bad} for case A00007; nothing was decided"):
        table(model=fitted().recalibrated(Broken()))


# --- rounds ----------------------------------------------------------------------------------------------


@pytest.fixture
def world(warehouse: Warehouse, small_case, as_of):
    """A feature table and a warehouse that stands at the end of 2026, as dbt would have built them."""
    with warehouse.engine("transformer").begin() as connection:
        connection.execute(
            text("""
                create table features.feat_application (
                    application_id text, candidate_key text, requisition_id text,
                    known_from timestamptz, known_to timestamptz, open_from timestamptz, open_to timestamptz,
                    years_experience double precision, job_family text, foreign_experience boolean
                )""")
        )
        connection.execute(
            text("create table outcomes.warehouse_standing as select timestamptz '2026-12-31' as as_of")
        )

    def opened(frame: pd.DataFrame, since, until=None) -> None:
        renamed = frame.rename(
            columns={
                "case_key": "application_id",
                "subject_key": "candidate_key",
                "group_key": "requisition_id",
            }
        ).assign(foreign_experience=frame["foreign_experience"] == 1)
        rows = pa.Table.from_pandas(renamed, preserve_index=False)
        for name, value in (("known_from", since), ("open_from", since), ("open_to", until)):
            rows = rows.append_column(name, pa.array([value] * len(frame), pa.timestamp("us", "UTC")))
        warehouse.merge("transformer", {"features.feat_application": rows})

    return opened


@pytest.fixture
def champion(warehouse, registry, owner, small_case, decided, fitted, as_of) -> int:
    return put_in_charge(warehouse, registry, owner, small_case, decided(), fitted(), as_of)


def put_in_charge(wh, registry, owner, use_case, frame, model, as_of, compared_with=None) -> int:
    finding = Finding("promote", "words", compared_with=compared_with)
    rhythm = f"after {compared_with}"
    version = release.propose(wh, registry, use_case, model, finding, frame, as_of, rhythm)
    release.approve(owner, use_case, version, "Measured well.")
    release.promote(wh, registry, use_case, version, as_of)
    return version


@pytest.fixture
def decide(warehouse, settings, registry, small_case):
    return lambda when: decisions.decide(warehouse, settings, registry, small_case, when)


def test_a_round(world, champion, decide, cases, warehouse, as_of, small_case):
    world(cases(60), since=as_of - timedelta(days=3))
    report = decide(as_of)
    assert (report.decided, report.model_version, report.left_out, report.note) == (60, 1, 0, "")
    assert sum(report.routes.values()) == 60
    assert report.review_reasons["low_confidence"] <= report.routes["review"]
    rows = warehouse.read("engine", "select * from loop.decisions order by case_key").to_pandas()
    assert rows["case_key"].tolist() == cases(60)["case_key"].tolist()
    assert report.advanced == (rows["recommended_action"] == "advance").sum()
    assert report.as_json()["as_of"] == "2026-10-01T06:00:00Z"
    json.dumps(report.as_json())


def test_the_round_is_what_the_policy_gives(
    world, champion, decide, cases, warehouse, as_of, small_case, settings, fitted
):
    world(cases(60), since=as_of - timedelta(days=3))
    decide(as_of)
    stored = warehouse.read("engine", "select * from loop.decisions order by case_key").to_pandas()
    frame = features.scoring_frame(warehouse, small_case, as_of)
    given = decisions.table_of(
        small_case, fitted(), 1, frame, as_of, settings.secret("audit_key")
    ).to_pandas()
    for column in ("decision_id", "score", "rank", "recommended_action", "route", "selection_propensity"):
        assert stored[column].tolist() == given[column].tolist(), column
    assert stored["features"].map(json.loads).tolist() == given["features"].tolist()


def test_a_round_run_again_changes_nothing(world, champion, decide, cases, warehouse, as_of):
    world(cases(60), since=as_of - timedelta(days=3))
    first, before = decide(as_of), fingerprint(warehouse, "loop.decisions")
    world(cases(10, seed=9).assign(case_key=[f"B{i}" for i in range(10)]), since=as_of - timedelta(days=1))
    assert decide(as_of) == first
    assert fingerprint(warehouse, "loop.decisions") == before


def test_a_case_is_decided_once(world, champion, decide, cases, warehouse, as_of):
    world(cases(60), since=as_of - timedelta(days=3))
    decide(as_of)
    late = cases(5, seed=9).assign(case_key=[f"B{i}" for i in range(5)])
    world(late, since=as_of + timedelta(days=1))
    assert decide(as_of + timedelta(days=30)).decided == 5
    keys = warehouse.read("engine", "select case_key from loop.decisions")["case_key"].to_pylist()
    assert len(keys) == len(set(keys)) == 65


def test_rounds_in_any_order_give_the_same(world, champion, decide, cases, warehouse, as_of, settings):
    """Months whose cases close before the next round, decided backwards: as in order, row by row."""
    months = [as_of + timedelta(days=30 * i) for i in range(3)]
    for i, month in enumerate(months):
        frame = cases(30, seed=i).assign(case_key=[f"M{i}-{n:02d}" for n in range(30)])
        world(frame, since=month - timedelta(days=10), until=month + timedelta(days=10))
    hashes = []
    for order in (months, [months[2], months[0], months[1]]):
        for month in order:
            assert decide(month).decided == 30
        hashes.append(fingerprint(warehouse, "loop.decisions"))
        _forget(warehouse)
    assert hashes[0] == hashes[1]


def test_a_late_round_leaves_groups_alone_that_a_later_one_has_touched(
    world, champion, decide, cases, warehouse, as_of
):
    later = as_of + timedelta(days=30)
    frame = cases(60).sort_values("group_key").reset_index(drop=True)
    torn = frame["group_key"].iloc[0]
    stays = frame["case_key"].iloc[0]
    world(frame[frame["case_key"] == stays], since=as_of - timedelta(days=3))  # open in both rounds
    world(frame[frame["case_key"] != stays], since=as_of - timedelta(days=3), until=as_of + timedelta(days=1))
    assert decide(later).decided == 1
    report = decide(as_of)
    size = int((frame["group_key"] == torn).sum())
    assert size > 1
    assert (report.decided, report.left_out) == (60 - size, size)
    groups = warehouse.read("engine", "select group_key from loop.decisions where as_of = :a", a=as_of)
    assert torn not in groups["group_key"].to_pylist()
    assert decide(as_of) == report


def test_without_a_champion_nothing_is_decided(world, decide, cases, registry, warehouse, as_of):
    world(cases(10), since=as_of - timedelta(days=3))
    report = decide(as_of)
    assert (report.decided, report.model_version) == (0, None)
    assert "no champion yet" in report.note
    assert warehouse.read("engine", "select 1 from loop.decisions").num_rows == 0


def test_no_open_case(world, champion, decide, as_of):
    report = decide(as_of)
    assert (report.decided, report.routes) == (0, {"automatic": 0, "review": 0})


def test_scored_by_the_champion_and_not_by_the_latest(
    world, champion, decide, cases, warehouse, registry, owner, small_case, decided, fitted, as_of
):
    put_in_charge(warehouse, registry, owner, small_case, decided(), fitted(2), as_of, compared_with=1)
    release.rollback(warehouse, registry, small_case, "Ada", "Complaints.", as_of)
    registry.set_alias(small_case.name, "champion", 2)  # and somebody moves the alias back
    world(cases(20), since=as_of - timedelta(days=3))
    report = decide(as_of)
    assert report.model_version == 1
    assert report.repaired == ("champion was 2, the ledger says 1",)
    assert "repaired" not in report.as_json()
    scores = warehouse.read("engine", "select score from loop.decisions order by case_key")[
        "score"
    ].to_pylist()
    assert scores == fitted(1).score(cases(20)).tolist()
    assert scores != fitted(2).score(cases(20)).tolist()


def test_a_champion_that_cannot_be_read_decides_nothing(
    world, champion, decide, cases, tampered, warehouse, small_case, as_of
):
    world(cases(20), since=as_of - timedelta(days=3))
    tampered(small_case.name, champion, {"artefact.sha256": "0" * 64})
    with pytest.raises(UnreadableModel):
        decide(as_of)
    assert warehouse.read("engine", "select 1 from loop.decisions").num_rows == 0


def test_a_killed_round_is_there_whole_or_not_at_all(
    world, champion, decide, cases, warehouse, settings, mlflow_settings, as_of
):
    world(cases(60), since=as_of - timedelta(days=3))
    script = Path(__file__).with_name("killed_round.py")
    database = warehouse.admin.render_as_string(hide_password=False), warehouse.database
    server_url = services.mlflow_url(mlflow_settings)
    ran = subprocess.run(
        [sys.executable, script, settings.home, *database, server_url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # rows after a kill before the write, half-way through it, and right after it
    assert json.loads(ran.stdout) == {"before": 0, "during": 0, "after": 60}
    assert decide(as_of).decided == 60


def test_a_trial_gives_whole_groups_to_the_challenger_and_scores_all_cases_twice(
    world, champion, decide, cases, warehouse, registry, small_case, decided, fitted, as_of, settings
):
    finding = Finding("promote", "To be tried.", compared_with=1)
    challenger = release.propose(warehouse, registry, small_case, fitted(2), finding, decided(), as_of)
    experiment = experiments.begin(warehouse, small_case, challenger, as_of)
    frame = cases(400)
    world(frame, since=as_of - timedelta(days=3))
    report = decide(as_of)
    assert report.model_version == champion

    rows = warehouse.read("engine", "select * from loop.decisions order by case_key").to_pandas()
    shadow = warehouse.read(
        "engine",
        "select s.* from loop.shadow_scores as s join loop.decisions using (decision_id) order by case_key",
    ).to_pandas()
    assert report.decided == len(rows) == len(shadow) == 400
    tried = rows["arm"] == "challenger"
    assert report.tried == tried.sum()
    assert (rows.groupby("group_key")["arm"].nunique() == 1).all()
    # 40 groups at 20 %: four standard errors of the binomial share are 25 points
    assert 0 < rows.loc[tried, "group_key"].nunique() / rows["group_key"].nunique() < 0.45
    assert (rows["model_version"] == np.where(tried, challenger, champion)).all()
    assert (shadow["model_version"] == np.where(tried, champion, challenger)).all()
    one, two = fitted(1).score(frame), fitted(2).score(frame)
    assert np.array_equal(rows["score"], np.where(tried, two, one))
    assert np.array_equal(shadow["score"], np.where(tried, one, two))

    assert experiments.running(warehouse, small_case.name, as_of) == experiment
    experiments.look(warehouse, experiment, as_of + timedelta(days=14), {"p": 0.5}, "keep", ["No better."])
    late = cases(50, seed=8).assign(case_key=[f"L{i}" for i in range(50)])
    world(late, since=as_of + timedelta(days=20))
    assert decide(as_of + timedelta(days=21)).tried == 0
    assert experiments.running(warehouse, small_case.name, as_of + timedelta(days=1)).verdict == "keep"


def test_a_challenger_that_cannot_be_read_leaves_all_groups_to_the_champion(
    world, champion, decide, cases, warehouse, registry, small_case, decided, fitted, as_of, tampered
):
    finding = Finding("promote", "To be tried.", compared_with=1)
    challenger = release.propose(warehouse, registry, small_case, fitted(2), finding, decided(), as_of)
    experiments.begin(warehouse, small_case, challenger, as_of)
    tampered(small_case.name, challenger, {"artefact.sha256": "0" * 64})
    world(cases(60), since=as_of - timedelta(days=3))
    report = decide(as_of)
    assert (report.decided, report.tried, report.model_version) == (60, 0, champion)


@pytest.fixture
def fewer(small_case):
    """The use case, out of whose declaration a feature was taken that versions have learnt from."""
    return small_case.model_copy(update={"features": small_case.features[:2]})


def test_a_champion_decides_on_by_a_feature_that_is_declared_no_more(
    world, champion, cases, warehouse, registry, settings, fewer, decided, fitted, as_of
):
    """Also beside a challenger that was learnt without it."""
    without = fit(fewer, decided(), as_of)
    finding = Finding("promote", "To be tried.", compared_with=1)
    challenger = release.propose(warehouse, registry, fewer, without, finding, decided(), as_of)
    frame = cases(200)
    world(frame[:60], since=as_of - timedelta(days=3))
    assert decisions.decide(warehouse, settings, registry, fewer, as_of).decided == 60
    experiments.begin(warehouse, fewer, challenger, as_of + timedelta(days=1))
    world(frame[60:], since=as_of + timedelta(days=1))
    report = decisions.decide(warehouse, settings, registry, fewer, as_of + timedelta(days=2))
    assert report.decided == 140
    assert 0 < report.tried < 140

    rows = warehouse.read("engine", "select * from loop.decisions order by case_key").to_pandas()
    tried = (rows["model_version"] == challenger).to_numpy()
    assert np.array_equal(rows["score"], np.where(tried, without.score(frame), fitted().score(frame)))
    logged = pd.DataFrame(rows["features"].map(json.loads).tolist())["foreign_experience"]
    assert logged[~tried].tolist() == frame.loc[~tried, "foreign_experience"].tolist()
    assert logged[tried].isna().all(), "it was not decided by it"
    for version in (champion, challenger):
        one = rows.loc[rows["model_version"] == version, "decision_id"].iloc[0]
        assert decisions.explain(warehouse, registry, one)


def test_a_column_gone_from_the_feature_table_is_named_with_who_reads_it(
    world, champion, cases, warehouse, registry, settings, fewer, as_of
):
    world(cases(20), since=as_of - timedelta(days=3))
    with warehouse.engine("transformer").begin() as connection:
        connection.execute(text("alter table features.feat_application drop column foreign_experience"))
    told = "foreign_experience, which the version of small_case learnt at 2026-10-01T06:00:00Z reads: put it"
    with pytest.raises(MissingColumn, match=told):
        decisions.decide(warehouse, settings, registry, fewer, as_of)
    assert warehouse.read("engine", "select 1 from loop.decisions").num_rows == 0


def test_the_live_calibrator_changes_probabilities_and_no_rank(
    world, champion, decide, cases, warehouse, registry, small_case, fitted, as_of
):
    doubtful = Platt(slope=0.5, intercept=-1.0)
    finding = Finding("promote", "Fits better.", details={"calibrator": doubtful.as_dict()})
    row = release.calibrate(warehouse, registry, small_case, champion, finding, as_of)
    frame = cases(100)
    world(frame, since=as_of - timedelta(days=3))
    decide(as_of)
    rows = warehouse.read("engine", "select * from loop.decisions order by case_key").to_pandas()
    assert set(rows["calibration_id"]) == {row.release_id}
    assert rows["score"].tolist() == fitted().score(frame).tolist()
    assert rows["probability"].tolist() == doubtful.probability(fitted().score(frame)).tolist()


def test_explained_on_demand_as_it_was_decided(world, champion, decide, cases, warehouse, registry, as_of):
    world(cases(60), since=as_of - timedelta(days=3))
    decide(as_of)
    rows = warehouse.read("engine", "select decision_id, route, reasons from loop.decisions").to_pylist()
    routed = next(row for row in rows if row["route"] == "review")
    automatic = next(row for row in rows if row["route"] == "automatic")
    told = decisions.explain(warehouse, registry, routed["decision_id"])
    assert told == json.loads(routed["reasons"])
    assert len(decisions.explain(warehouse, registry, automatic["decision_id"])) == 3
    with pytest.raises(DecisionError, match="there is no decision nowhere"):
        decisions.explain(warehouse, registry, "nowhere")


def test_decisions_are_append_only(world, champion, decide, cases, warehouse, as_of):
    world(cases(10), since=as_of - timedelta(days=3))
    decide(as_of)
    for statement in ("delete from loop.decisions", "update loop.decisions set rank = 1"):
        with (
            warehouse.engine("admin").connect() as connection,
            pytest.raises(DBAPIError, match="append-only"),
        ):
            connection.execute(text(statement))


def _forget(warehouse: Warehouse) -> None:
    """Empty the ledger of decisions, which only a test may."""
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text("alter table loop.decisions disable trigger append_only"))
        connection.execute(text("delete from loop.decisions"))
        connection.execute(text("alter table loop.decisions enable trigger append_only"))
