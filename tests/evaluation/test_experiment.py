"""The statistics of an experiment: against published boundaries, another library, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.evaluation import experiment
from hrloop.evaluation.experiment import Sequential, arrivals, benefit, harm, o_brien_fleming
from hrloop.evaluation.simulation import looks_of
from hrloop.settings import PROJECT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from ville import BettingCS

NAN = math.nan


@pytest.fixture(scope="module")
def use_case():
    return usecase.load("recruitment", PROJECT)


def test_arms_as_declared_and_not():
    shares = {"champion": 0.8, "challenger": 0.2}
    assert experiment.sample_ratio({"champion": 800, "challenger": 200}, shares) == pytest.approx(1.0)
    assert experiment.sample_ratio({"champion": 800, "challenger": 270}, shares) < 0.001
    assert experiment.sample_ratio({"champion": 8, "challenger": 4}, shares) > 0.05
    # (60 - 50)² / 50 twice is 4.0, whose tail with one degree of freedom is 0.0455
    assert experiment.sample_ratio({"a": 60, "b": 40}, {"a": 0.5, "b": 0.5}) == pytest.approx(
        0.0455, abs=1e-4
    )


@pytest.mark.parametrize(
    ("counts", "shares", "words"),
    [
        ({"a": 1}, {"a": 0.5, "b": 0.5}, "same arms"),
        ({"a": 1, "b": 1}, {"a": 0.5, "b": 0.4}, "sum to 1"),
        ({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}, "nothing was assigned"),
    ],
)
def test_a_ratio_that_cannot_be_told_is_refused(counts, shares, words):
    with pytest.raises(ValueError, match=words):
        experiment.sample_ratio(counts, shares)


def test_boundaries_of_gsdesign():
    """gsDesign(k, test.type = 1, alpha = 0.025, sfu = sfLDOF), equally spaced looks."""
    published = {
        2: [2.963, 1.969],
        3: [3.710, 2.511, 1.993],
        5: [4.877, 3.357, 2.680, 2.290, 2.031],
    }
    for looks, boundaries in published.items():
        found = o_brien_fleming(0.025, [(k + 1) / looks for k in range(looks)])
        assert [round(look.z, 3) for look in found] == boundaries
        assert [look.level for look in found] == pytest.approx([norm.sf(look.z) for look in found])


def test_the_classic_boundaries_of_o_brien_and_fleming_err_by_five_percent():
    """4.56, 3.23, 2.63, 2.28, 2.04 (Jennison and Turnbull 2000, table 2.3): 5 % two-sided."""
    boundaries = [2.040 * math.sqrt(5 / k) for k in range(1, 6)]
    assert [round(z, 2) for z in boundaries] == [4.56, 3.23, 2.63, 2.28, 2.04]
    assert 2 * experiment.crossing_probability(boundaries, [1, 2, 3, 4, 5]) == pytest.approx(0.05, abs=1e-4)


def test_repeated_looks_of_armitage_mcpherson_and_rowe():
    """Five looks at 1.96 err in 14.2 % (their table 2, 1969), two in 8.3 %."""
    assert 2 * experiment.crossing_probability([1.96] * 5, [1, 2, 3, 4, 5]) == pytest.approx(0.142, abs=5e-4)
    assert 2 * experiment.crossing_probability([1.96] * 2, [1, 2]) == pytest.approx(0.083, abs=5e-4)


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.001, 0.1),
    st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5),
    st.lists(st.floats(1, 50), min_size=5, max_size=5),
)
@example(0.00390625, [0.0625, 1.0, 1.0], [1.0] * 5)
def test_the_looks_spend_the_error_and_no_more(alpha, steps, labels):
    fractions = np.cumsum(steps) / np.sum(steps)
    information = np.cumsum(labels)[: len(fractions)]
    looks = o_brien_fleming(alpha, fractions, information)
    spent = experiment.crossing_probability([look.z for look in looks], information)
    assert spent == pytest.approx(alpha, rel=1e-6)


def test_the_declared_looks_spend_their_part_of_the_year_as_the_docs_tell(use_case):
    looks = looks_of(use_case)
    assert [round(100 * look.level, 2) for look in looks] == [0.21, 1.15, 2.62]
    assert experiment.crossing_probability([look.z for look in looks], [14, 21, 28]) == pytest.approx(0.03)


def test_a_boundary_depends_on_no_later_look():
    three = o_brien_fleming(0.03, [0.5, 0.75, 1.0], [80, 110, 150])
    assert o_brien_fleming(0.03, [0.5, 0.75], [80, 110]) == three[:2]


@pytest.mark.parametrize(
    ("alpha", "fractions", "information"),
    [(0.0, [1.0], None), (0.03, [0.5, 0.5], None), (0.03, [0.5, 1.1], None), (0.03, [0.5, 1.0], [80, 80])],
)
def test_looks_that_cannot_be_are_refused(alpha, fractions, information):
    with pytest.raises(ValueError, match="must"):
        o_brien_fleming(alpha, fractions, information)


def streams(seed: int, runs: int, n: int, mean: float) -> np.ndarray:
    """Differences within 0.4 of a given mean, (runs, n): many small ones against the candidate, few large."""
    r = np.random.default_rng(seed)
    draws = np.where(r.random((runs, n)) < 0.1, 0.3, -0.3 / 9)
    return draws + mean + r.uniform(-0.05, 0.05, (runs, n))


@pytest.mark.parametrize("n", [30, 300])
def test_harm_without_harm_is_shown_in_no_more_than_its_error(n):
    """Read after every one of n skewed observations of mean 0; a z-test so read errs far more often."""
    shown = np.mean([harm(stream, 0.05, bound=0.4).shown for stream in streams(1, 1500, n, 0.0)])
    assert shown <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 1500)
    sums = np.cumsum(streams(1, 1500, n, 0.0), axis=1)[:, 9:]
    squares = np.cumsum(np.square(streams(1, 1500, n, 0.0)), axis=1)[:, 9:]
    naive = np.mean((sums < -1.645 * np.sqrt(squares)).any(axis=1))
    assert naive > 2 * 0.05


def test_harm_that_is_there_is_shown_and_so_is_benefit():
    worse = streams(2, 200, 300, -0.05)
    assert np.mean([harm(stream, 0.05, bound=0.45).shown for stream in worse]) > 0.9
    assert np.mean([benefit(-stream, 0.05, bound=0.45).shown for stream in worse]) > 0.9
    assert not any(benefit(stream, 0.05, bound=0.45).shown for stream in worse)
    assert np.mean([harm(stream, 0.05, bound=0.45, margin=0.05).shown for stream in worse]) <= 0.1


def test_harm_agrees_with_the_betting_confidence_sequence_of_ville():
    """One side of a 90 % sequence errs by 5 %; ours bets otherwise, and shows no less."""
    worse = streams(3, 60, 300, -0.03)
    ours = np.array([harm(stream, 0.05, bound=0.45).shown for stream in worse])
    theirs = np.array(
        [BettingCS((-0.45, 0.45), alpha=0.1, grid=400).fit(stream).upper_[-1] < 0 for stream in worse]
    )
    assert np.mean(ours == theirs) > 0.75
    assert ours.mean() >= theirs.mean()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=60), st.integers(1, 60))
def test_what_is_shown_stays_so_and_needs_nothing_later(differences, cut):
    whole, part = (harm(np.array(d), 0.05, bound=0.3) for d in (differences, differences[:cut]))
    assert part.p_value >= whole.p_value
    assert part.shown == (whole.shown and whole.first <= cut)
    if part.shown:
        assert part.first == whole.first
        assert part.p_value <= 0.05


def test_a_stream_that_breaks_its_promise_is_refused():
    for broken in ([0.1, NAN], [0.1, 0.5]):
        with pytest.raises(ValueError, match="beyond the bound"):
            harm(np.array(broken), 0.05, bound=0.4)
    assert harm(np.empty(0), 0.05, bound=0.0) == Sequential(1.0, 0, None)
    assert not harm(np.zeros(9), 0.05, bound=0.0).shown


def test_a_group_counts_once_with_the_labels_known_first():
    frame = pd.DataFrame(
        {
            "group_key": ["b", "a", "a", "b", "c"],
            "known_at": pd.to_datetime(
                ["2026-02-01", "2026-01-01", "2026-01-01", "2026-03-01", "2026-01-01"]
            ),
            "label": [1, 0, 1, 1, 1.0],
            "probability": [0.6, 0.4, 0.7, 0.5, 0.9],
            "reference": [0.5] * 5,
        }
    )
    stream = arrivals(frame)
    np.testing.assert_allclose(stream.differences, [0.125, 0.24, 0.09])
    assert list(stream.known_at) == sorted(stream.known_at)
    assert stream.bound == pytest.approx(0.81 - 0.25)
    shuffled = arrivals(frame.sample(frac=1, random_state=3))
    np.testing.assert_allclose(shuffled.differences, stream.differences)
    assert arrivals(frame.head(0)).bound == 0.0


def test_the_bound_holds_whatever_the_outcomes():
    r = np.random.default_rng(0)
    for label in (np.zeros(200), np.ones(200)):
        frame = pd.DataFrame(
            {"group_key": range(200), "known_at": 0, "label": label, "reference": r.random(200)}
        )
        stream = arrivals(frame.assign(probability=r.random(200)))
        assert np.abs(stream.differences).max() <= stream.bound


def overruled(r: np.random.Generator, more: float) -> tuple[np.ndarray, ...]:
    """300 groups of two decisions, a fifth in the arm; groups differ in how often people overrule."""
    arm = r.random(300) < 0.2
    rate = np.clip(r.beta(2, 8, 300) + more * arm, 0, 1)
    group = np.repeat(np.arange(300), 2)
    return r.random(600) < rate[group], arm[group], group


def test_the_difference_of_shares_covers_the_truth():
    r = np.random.default_rng(4)
    below = above = 0
    for _ in range(800):
        found = experiment.share_difference(*overruled(r, 0.1), alpha=0.025)
        below, above = below + found.is_below(0.1), above + found.is_above(0.1)
    assert max(below, above) / 800 <= 0.025 + 2.6 * math.sqrt(0.025 * 0.975 / 800)


def test_few_cases_without_an_event_are_no_certainty():
    happened, arm, group = np.zeros(12, dtype=bool), np.arange(12) < 3, np.arange(12)
    found = experiment.share_difference(happened, arm, group, alpha=0.05)
    assert found.value == 0.0
    assert found.high > 0.15
    nobody = experiment.share_difference(happened, np.zeros(12, dtype=bool), group, alpha=0.05)
    assert not nobody.is_below(1.0)
    with pytest.raises(ValueError, match="give one each"):
        experiment.share_difference(happened, arm[:3], group, alpha=0.05)


def test_the_errors_of_a_watch_add_up_to_what_is_declared(use_case):
    errors = experiment.watch_errors(use_case.watch)
    days = use_case.watch.days.value
    total = errors.harm + days * (errors.overrules + errors.reviews + errors.impact)
    assert total == pytest.approx(use_case.watch.significance.value)
