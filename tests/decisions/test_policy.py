"""Rank, cut, explore and route: the arithmetic of a decision round, case by case and as properties."""

import numpy as np
import pytest
from hrloop.decisions import policy
from hrloop.learning import calibration
from hrloop.usecase import Decision
from hypothesis import given
from hypothesis import strategies as st

KEY = "a key of the tests"


def ranked(size: int) -> policy.Ranked:
    """One group of ``size`` cases, already in the order of their scores."""
    return policy.rank(np.full(size, "g"), -np.arange(size, dtype=float), np.zeros(size))


@st.composite
def rounds(draw):
    """Groups, scores with ties, and a share, band and ε."""
    n = draw(st.integers(1, 60))
    group = np.array(draw(st.lists(st.sampled_from("abcd"), min_size=n, max_size=n)))
    score = np.array(draw(st.lists(st.sampled_from([0.1, 0.2, 0.2000001, 0.7]), min_size=n, max_size=n)))
    share, band, epsilon = (draw(st.floats(0, 1)) for _ in range(3))
    return group, score, share, band, epsilon


def test_draws_are_known_and_keyed():
    ids = [f"d{i}" for i in range(1000)]
    draws = policy.draws(KEY, "audit", ids)
    assert np.array_equal(draws, policy.draws(KEY, "audit", ids))
    # HMAC-SHA-256("a key of the tests", "audit:d0"), first 53 bits over 2^53, worked out with openssl
    assert draws[0] == pytest.approx(0.5452124089767414, abs=1e-15)
    for other in (policy.draws("another key", "audit", ids), policy.draws(KEY, "exploration", ids)):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.12  # 4 standard errors at n = 1000


def test_draws_are_uniform():
    draws = policy.draws(KEY, "audit", [str(i) for i in range(20_000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    # 10 % of 20,000: the binomial standard error is 0.0021
    assert (draws < 0.1).mean() == pytest.approx(0.1, abs=0.0085)


def test_no_cases_at_all():
    nothing = policy.rank(np.array([], str), np.array([]), np.array([]))
    assert len(nothing.rank) == len(nothing.size) == 0
    cut = policy.places(nothing.size, 0.2)
    assert len(policy.explore(nothing, cut, np.array([]), 0.1, 0.1).advance) == 0
    assert policy.route(np.array([]), 0.7, np.array([]), 0.1, (np.empty(0, int), [])).to_pylist() == []


def test_rank_within_group_highest_score_first():
    got = policy.rank(np.array(["b", "a", "b", "a", "b"]), np.array([0.1, 0.5, 0.9, 0.6, 0.4]), np.zeros(5))
    assert got.rank.tolist() == [3, 2, 1, 1, 2]
    assert got.size.tolist() == [3, 2, 3, 2, 3]


def test_equal_scores_are_parted_by_the_tie_draw_not_by_the_order_of_rows():
    group, score, tie = np.full(3, "g"), np.array([0.5, 0.5, 0.5]), np.array([0.7, 0.1, 0.4])
    assert policy.rank(group, score, tie).rank.tolist() == [3, 1, 2]
    assert policy.rank(group, score, tie[::-1]).rank.tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("size", "share", "places"),
    [
        (1, 0.2, 1),
        (2, 0.2, 1),
        (7, 0.2, 1),
        (8, 0.2, 2),
        (10, 0.25, 3),
        (40, 0.2, 8),
        (3, 1.0, 3),
        (5, 0.0, 1),
    ],
)
def test_places(size, share, places):
    assert policy.places(np.array([size]), share).tolist() == [places]


@pytest.mark.parametrize(
    ("size", "a_week", "places"), [(200, 1, 4), (200, 0.1, 1), (3, 1, 3), (200, 2, 9), (1, 5, 1)]
)
def test_a_weekly_quota_is_that_of_the_weeks_of_a_period(size, a_week, places):
    declared = decision(period={"key": "month", "weeks": threshold(4.35)}, advance_a_week=threshold(a_week))
    assert policy.quota(np.array([size]), declared).tolist() == [places]


def test_a_share_is_a_quota_too():
    declared = decision(advance_share=threshold(0.2))
    assert policy.quota(np.array([40, 7]), declared).tolist() == [8, 1]


def threshold(value: float) -> dict:
    return {"value": value, "reason": "for the tests"}


def decision(**quota) -> Decision:
    keys = {"feature_table": "a.b", "case_key": "c", "subject_key": "s", "group_key": "g"}
    return Decision(**keys, actions={"positive": "yes", "negative": "no"}, **quota)


@pytest.mark.parametrize("size", [4, 9, 40, 400])
def test_with_a_band_of_one_every_warning_may_be_withheld_and_the_quota_is_kept(size):
    """A randomised hold-out: whoever is inside the cut is left out with the declared probability."""
    group, cut = (
        ranked(size),
        policy.quota(
            np.full(size, size),
            decision(period={"key": "month", "weeks": threshold(4.35)}, advance_a_week=threshold(0.4)),
        ),
    )
    draw = np.random.default_rng(size).random(size)
    chosen = policy.explore(group, cut, draw, share=0.2, band=1.0)
    assert chosen.advance.sum() == cut[0]
    inside = group.rank <= cut
    assert np.allclose(chosen.propensity[inside], 0.8)
    assert (chosen.turned[inside] == (draw[inside] < 0.2)).all()


@pytest.mark.parametrize(
    ("size", "cut", "band", "pairs"),
    [
        (1, 1, 0.1, 0),  # nobody on the other side
        (2, 1, 0.1, 1),
        (30, 6, 0.1, 3),  # 0.1 · 30 is 3.0000000000000004
        (31, 6, 0.1, 4),
        (30, 1, 0.1, 1),  # not more than there are inside
        (30, 29, 0.5, 1),  # nor outside
        (30, 6, 0.0, 0),
    ],
)
def test_pairs(size, cut, band, pairs):
    assert policy.pairs(np.array([size]), np.array([cut]), band).tolist() == [pairs]


def test_propensities_by_hand():
    # 10 cases, 3 advance, band 0.2 → 2 pairs: ranks (3, 4) and (2, 5)
    got = policy.explore(ranked(10), np.full(10, 3), np.ones(10), 0.1, 0.2)
    assert got.propensity.tolist() == pytest.approx([1, 0.9, 0.9, 0.1, 0.1, 0, 0, 0, 0, 0])
    assert got.advance.tolist() == [True] * 3 + [False] * 7
    assert not got.turned.any()


def test_a_pair_swaps_by_the_draw_of_its_inside_case():
    draw = np.ones(10)
    draw[1] = 0.05  # rank 2, whose partner is rank 5
    got = policy.explore(ranked(10), np.full(10, 3), draw, 0.1, 0.2)
    assert np.flatnonzero(got.advance).tolist() == [0, 2, 4]
    assert np.flatnonzero(got.turned).tolist() == [1, 4]
    draw[:] = 1
    draw[3] = 0.05  # an outside case's own draw moves nothing
    assert not policy.explore(ranked(10), np.full(10, 3), draw, 0.1, 0.2).turned.any()


def test_the_logged_propensity_is_the_frequency_with_which_a_case_advances():
    size, cut, trials = 12, 4, 4000
    r = np.random.default_rng(7)
    advanced, group = np.zeros(size), ranked(size)
    for _ in range(trials):
        got = policy.explore(group, np.full(size, cut), r.random(size), 0.1, 0.2)
        advanced += got.advance
    # 4 standard errors of a frequency near 0.1 over 4,000 trials
    assert advanced / trials == pytest.approx(got.propensity, abs=4 * np.sqrt(0.09 / trials))
    # weighing by 1/P gives each case that can advance its own value once: the point of logging it
    sure = got.propensity > 0
    assert advanced[sure] / trials / got.propensity[sure] == pytest.approx(np.ones(sure.sum()), abs=0.2)


@given(rounds())
def test_a_round_keeps_its_promises(made):
    group, score, share, band, epsilon = made
    ids = [f"d{i}" for i in range(len(group))]
    got = policy.rank(group, score, policy.draws(KEY, "tie", ids))
    cut = policy.places(got.size, share)
    chosen = policy.explore(got, cut, policy.draws(KEY, "exploration", ids), epsilon, band)
    for name in np.unique(group):
        inside = group == name
        assert sorted(got.rank[inside]) == list(range(1, inside.sum() + 1))
        assert np.all(np.diff(score[inside][np.argsort(got.rank[inside])]) <= 0)
        # whatever the draws, exactly the places are given out, and the propensities add up to them
        assert chosen.advance[inside].sum() == cut[inside][0]
        assert chosen.propensity[inside].sum() == pytest.approx(cut[inside][0])
        assert chosen.turned[inside].sum() % 2 == 0
    assert np.all((chosen.propensity >= 0) & (chosen.propensity <= 1))
    assert np.all(chosen.advance[chosen.propensity == 1])
    assert not np.any(chosen.advance[chosen.propensity == 0])


@given(rounds())
def test_draws_that_nothing_hangs_on_need_not_be_made(made):
    group, score, share, band, epsilon = made
    ids = [f"d{i}" for i in range(len(group))]
    every, some = policy.draws(KEY, "tie", ids), policy.tied(group, score)
    few = policy.draws(KEY, "tie", ids, where=some)
    assert np.array_equal(few[some], every[some])
    assert np.isnan(few[~some]).all()
    got = policy.rank(group, score, every)
    assert np.array_equal(got.rank, policy.rank(group, score, few).rank)
    cut = policy.places(got.size, share)
    inside, in_pair = policy.paired(got, cut, band)
    every, few = (policy.draws(KEY, "exploration", ids, where=where) for where in (None, inside & in_pair))
    full, lean = (policy.explore(got, cut, draw, epsilon, band) for draw in (every, few))
    assert np.array_equal(full.advance, lean.advance)
    assert np.array_equal(full.turned, lean.turned)


@given(rounds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(made, random):
    group, score, share, band, epsilon = made
    ids = np.array([f"d{i}" for i in range(len(group))])

    def advanced(order):
        got = policy.rank(group[order], score[order], policy.draws(KEY, "tie", ids[order]))
        draw = policy.draws(KEY, "exploration", ids[order])
        chosen = policy.explore(got, policy.places(got.size, share), draw, epsilon, band)
        return dict(
            zip(ids[order], zip(got.rank, chosen.advance, chosen.propensity, strict=True), strict=True)
        )

    order = np.arange(len(group))
    shuffled = order.copy()
    random.shuffle(shuffled)
    assert advanced(order) == advanced(shuffled)


def test_confidence_is_of_the_recommended_action():
    got = calibration.confidence(np.array([0.8, 0.8, 0.1]), np.array([True, False, False]))
    assert got.tolist() == pytest.approx([0.8, 0.2, 0.9])


def test_routes():
    got = policy.route(
        confidence=np.array([0.69999, 0.70, 0.9, 0.9, 0.5]),
        below=0.70,
        draw=np.array([0.5, 0.5, 0.0999, 0.10, 0.01]),
        audit_share=0.10,
        edges=(np.array([4, 3, 4]), ["a", "job_family 'astronaut' was not seen in training", "b"]),
    )
    assert got.to_pylist() == [
        ["low_confidence"],
        [],  # 0.70 is enough
        ["audit"],
        ["edge: job_family 'astronaut' was not seen in training"],
        ["low_confidence", "audit", "edge: a", "edge: b"],
    ]
