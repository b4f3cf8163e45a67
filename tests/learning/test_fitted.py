"""A fitted model: kept as data, exact after a round trip, clear about what it has never seen."""

import json

import numpy as np
import pandas as pd
import pytest
from hrloop import arrow, learning
from hrloop.learning import Fitted
from hrloop.learning.calibration import Beta, Platt, VennAbers
from threadpoolctl import threadpool_info, threadpool_limits


@pytest.fixture(scope="module")
def frame(company):
    return company(2500, seed=5)


@pytest.fixture(scope="module")
def fitted(use_case, frame, as_of):
    return learning.fit(use_case, frame, as_of)


def told(fitted, rows):
    """The edge cases of each row, as lists of texts."""
    return arrow.gathered(*fitted.edge_cases(rows), len(rows)).to_pylist()


def test_a_round_trip_is_exact(fitted, frame, tmp_path):
    fitted.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["fitted.json", "model.ubj"]
    loaded = Fitted.load(tmp_path / "model")
    assert loaded.identity == fitted.identity
    assert loaded.calibrator == fitted.calibrator
    assert loaded.encoder == fitted.encoder
    for method in ("score", "probability", "contributions"):
        np.testing.assert_array_equal(getattr(loaded, method)(frame), getattr(fitted, method)(frame))
    loaded.save(tmp_path / "again")
    for name in ("model.ubj", "fitted.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


@pytest.mark.parametrize(
    "calibrator",
    [
        Platt(0.9, -0.3, 5.0, 70, 55.5),
        Beta(0.8, 1.3, 0.1, 5.0, 70, 55.5),
        VennAbers((0.25, 0.5), (0.0, 0.125, 0.5), (0.25, 0.5, 1.0), 70),
    ],
)
def test_each_kind_of_calibrator_is_kept(fitted, frame, tmp_path, calibrator):
    recalibrated = fitted.recalibrated(calibrator)
    recalibrated.save(tmp_path)
    loaded = Fitted.load(tmp_path)
    assert loaded.calibrator == calibrator
    assert loaded.identity == recalibrated.identity != fitted.identity
    np.testing.assert_array_equal(loaded.probability(frame), recalibrated.probability(frame))
    np.testing.assert_array_equal(loaded.probability(frame), calibrator.probability(fitted.score(frame)))


def test_a_model_and_parameters_that_do_not_belong_together_are_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    model = bytearray((tmp_path / "model.ubj").read_bytes())
    model[-2] ^= 1
    (tmp_path / "model.ubj").write_bytes(model)
    with pytest.raises(learning.LearningError, match="SHA-256 differs"):
        Fitted.load(tmp_path)


@pytest.mark.parametrize("name", ["model.ubj", "fitted.json"])
def test_half_a_model_is_refused(fitted, tmp_path, name):
    fitted.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(learning.LearningError, match="no whole model"):
        Fitted.load(tmp_path)


def test_another_format_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    data = json.loads((tmp_path / "fitted.json").read_text())
    (tmp_path / "fitted.json").write_text(json.dumps(data | {"format": 99}))
    with pytest.raises(learning.LearningError, match="format 99"):
        Fitted.load(tmp_path)


def test_scores_do_not_depend_on_the_company_of_other_rows(fitted, frame):
    whole = fitted.probability(frame)
    np.testing.assert_array_equal(fitted.probability(frame.iloc[100:200]), whole[100:200])
    np.testing.assert_array_equal(fitted.probability(frame.iloc[[7]]), whole[[7]])


@pytest.mark.parametrize("dtypes", ["numpy", "pandas"])
def test_a_row_alone_is_read_scored_and_told_as_in_a_frame(fitted, frame, dtypes):
    rows = frame.tail(300)[fitted.feature_names].reset_index(drop=True)
    rows.loc[::7, "family"], rows.loc[::11, "experience"], rows.loc[::13, "match"] = "astrology", 99.0, np.nan
    rows.loc[::17, ["family", "channel"]] = None
    rows = rows.convert_dtypes() if dtypes == "pandas" else rows  # of the latter, missing ones are pandas' NA
    together = fitted.encode(rows)
    probability, edges = fitted.probability(together), told(fitted, rows)
    assert len({text for texts in edges for text in texts}) >= 3
    for row in range(len(rows)):
        columns = {name: rows[name].to_numpy()[[row]] for name in rows}
        alone = fitted.encode(columns)
        assert len(alone) == 1
        np.testing.assert_array_equal(alone.matrix, together.matrix[[row]])
        np.testing.assert_array_equal(fitted.probability(alone), probability[[row]])
        assert arrow.gathered(*fitted.edge_cases(alone), 1).to_pylist() == [edges[row]]


def test_one_row_leaves_the_threads_of_the_process_to_the_rows_after_it(fitted, frame):
    with threadpool_limits(limits=2, user_api="openmp"):
        before = threadpool_info()
        fitted.score(frame.head(1))
        fitted.contributions(frame.head(1))
        assert threadpool_info() == before


def test_contributions_add_up_to_the_log_odds(fitted, frame):
    contributions = fitted.contributions(frame)
    assert contributions.shape == (len(frame), len(fitted.feature_names))
    rest = fitted.margin(frame) - contributions.sum(axis=1)
    assert np.ptp(rest) < 1e-4


def test_calibration_keeps_the_ranks(fitted, frame):
    score, probability = fitted.score(frame), fitted.probability(frame)
    order = np.argsort(score, kind="stable")
    assert (np.diff(probability[order]) >= 0).all()
    flat = fitted.recalibrated(Platt(slope=0.01, intercept=2.0))
    assert (np.diff(flat.probability(frame)[order]) >= 0).all()
    np.testing.assert_array_equal(flat.score(frame), score)


def test_an_unseen_category_is_missing_to_the_model_and_an_edge_case(fitted, frame):
    rows = frame.iloc[:3].copy()
    unseen = rows.assign(family="astrology")
    np.testing.assert_array_equal(fitted.score(unseen), fitted.score(rows.assign(family=None)))
    for reasons in told(fitted, unseen):
        assert "family 'astrology' was not seen in training" in reasons


def test_edge_cases_name_feature_value_and_range(fitted, frame):
    rows = frame[frame["label_status"] == "observed"].head(4).copy()
    rows.iloc[1, rows.columns.get_loc("experience")] = 99.0
    rows.iloc[2, rows.columns.get_loc("match")] = -3.0
    rows.iloc[3, rows.columns.get_loc("match")] = np.nan
    reasons = told(fitted, rows)
    assert reasons[0] == []
    assert len(reasons[1]) == 1
    assert reasons[1][0].startswith("experience 99 is outside of")
    assert reasons[2][0].startswith("match -3 is outside of")
    assert reasons[3] == ["match is missing, and never was in training"]


def test_rows_learnt_from_are_hardly_ever_edge_cases(fitted, frame):
    learnt = frame[frame["label_status"] == "observed"].head(fitted.summary["parts"]["development"]["labels"])
    assert not any(told(fitted, learnt))


def test_nothing_to_score_gives_nothing(fitted, frame):
    none = frame.head(0)
    assert fitted.probability(none).shape == (0,)
    assert fitted.contributions(none).shape == (0, len(fitted.feature_names))
    assert told(fitted, none) == []


def test_a_missing_feature_is_named(fitted, frame):
    with pytest.raises(learning.MissingColumn, match="match"):
        fitted.score(frame.drop(columns="match"))


def test_an_infinite_value_is_refused(fitted, frame):
    with pytest.raises(learning.LearningError, match="match is infinite in 1 row"):
        fitted.score(frame.head(5).assign(match=[0.1, np.inf, 0.2, 0.3, 0.4]))


def test_columns_in_another_order_or_dtype_score_alike(fitted, frame):
    turned = frame[frame.columns[::-1]].convert_dtypes(dtype_backend="pyarrow")
    np.testing.assert_array_equal(fitted.score(turned), fitted.score(frame))
    categories = frame.assign(family=pd.Categorical(frame["family"], categories=["sales", "finance"][::-1]))
    expected = frame.assign(family=frame["family"].where(frame["family"].isin(["sales", "finance"])))
    np.testing.assert_array_equal(fitted.score(categories), fitted.score(expected))
