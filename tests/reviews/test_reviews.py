"""The queue of a reviewer, and verdicts that are checked, kept once and never changed."""

from datetime import datetime, timedelta

import pytest
from hrloop import decisions, reviews
from hrloop.reviews import ReviewError
from hrloop.rhythms import Loop, matured
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError


@pytest.fixture
def rounds(warehouse, small_case, fitted, cases, as_of):
    """Two rounds of 60 decisions, a month apart."""
    for i in range(2):
        frame = cases(60, seed=i).assign(case_key=[f"M{i}-{n:02d}" for n in range(60)])
        when = as_of + timedelta(days=30 * i)
        warehouse.merge(
            "engine", {"loop.decisions": decisions.table_of(small_case, fitted(), 1, frame, when, "key")}
        )


@pytest.fixture
def record(warehouse, small_case, rounds, as_of):
    (first, *_) = reviews.queue(warehouse, small_case)

    def make(**changes):
        given = {
            "decision_id": first.decision_id,
            "reviewer": "R. Iyer",
            "verdict": "overrule",
            "reviewed_at": as_of + timedelta(hours=2),
            "reason_code": "communication",
            "words": "Led the customer workshop herself.",
        }
        return reviews.record(warehouse, small_case, **given | changes)

    return make


def test_the_queue_holds_what_is_routed_oldest_and_least_sure_first(warehouse, small_case, rounds):
    waiting = reviews.queue(warehouse, small_case, limit=1000)
    routed = warehouse.read("engine", "select decision_id from loop.decisions where route = 'review'")
    assert {one.decision_id for one in waiting} == set(routed["decision_id"].to_pylist())
    keys = [(one.as_of, one.confidence) for one in waiting]
    assert keys == sorted(keys)
    assert len({one.as_of for one in waiting}) == 2
    assert all(one.route_reasons and len(one.reasons) == 3 for one in waiting)
    assert reviews.queue(warehouse, small_case, limit=3) == waiting[:3]


def test_a_review_takes_the_decision_from_the_queue(warehouse, small_case, record):
    before = reviews.queue(warehouse, small_case, limit=1000)
    record()
    assert reviews.queue(warehouse, small_case, limit=1000) == before[1:]


def test_an_overrule_is_the_other_action_with_its_reason(warehouse, small_case, record, as_of):
    recommended = reviews.queue(warehouse, small_case)[0].recommended_action
    review_id = record()
    (row,) = warehouse.read("engine", "select * from loop.reviews").to_pylist()
    assert row["review_id"] == review_id
    assert {row["action"], recommended} == {"advance", "decline"}
    assert (row["verdict"], row["reason_code"]) == ("overrule", "communication")
    assert row["words"] == "Led the customer workshop herself."
    assert row["reviewed_at"] == as_of + timedelta(hours=2)


def test_to_agree_needs_no_reason(warehouse, small_case, record):
    recommended = reviews.queue(warehouse, small_case)[0].recommended_action
    record(verdict="agree", reason_code=None, words="")
    (row,) = warehouse.read("engine", "select * from loop.reviews").to_pylist()
    assert (row["action"], row["reason_code"], row["words"]) == (recommended, "agreed", "")


def test_the_same_review_sent_again_is_recorded_once(warehouse, record):
    assert record() == record(words=" Led the customer workshop herself. ")
    assert warehouse.read("engine", "select 1 from loop.reviews").num_rows == 1


def test_a_review_is_never_changed(warehouse, record, as_of):
    record()
    with pytest.raises(ReviewError, match=r"words, reason_code|reason_code, words"):
        record(words="No, it was the reference.", reason_code="other")
    record(words="No, it was the reference.", reviewed_at=as_of + timedelta(hours=3))
    assert warehouse.read("engine", "select 1 from loop.reviews").num_rows == 2
    for statement in ("delete from loop.reviews", "update loop.reviews set words = ''"):
        with (
            warehouse.engine("admin").connect() as connection,
            pytest.raises(DBAPIError, match="append-only"),
        ):
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decision_id": "nowhere"}, "decision_id: small_case has no decision 'nowhere'"),
        ({"reviewer": " "}, "reviewer: is empty"),
        ({"verdict": "maybe"}, "verdict: 'maybe' is neither agree nor overrule"),
        ({"action": "hire"}, "action: 'hire' is none of advance, decline"),
        ({"reason_code": "vibes"}, "reason_code: 'vibes' is not declared; codes are missing_information, "),
        ({"reason_code": ""}, "reason_code: is empty; to overrule needs one of"),
        ({"words": "  "}, "words: are empty"),
        ({"verdict": "agree", "reason_code": "vibes"}, "reason_code: 'vibes' is not declared"),
        ({"reviewed_at": datetime(2026, 10, 1)}, "has no UTC offset"),  # noqa: DTZ001 - that is the point
    ],
)
def test_a_review_that_cannot_be_recorded_says_why(warehouse, record, changes, message):
    with pytest.raises(ValueError, match=message):
        record(**changes)
    assert warehouse.read("engine", "select 1 from loop.reviews").num_rows == 0


@pytest.mark.parametrize("verdict", ["agree", "overrule"])
def test_verdict_and_action_must_fit(warehouse, small_case, record, verdict):
    recommended = reviews.queue(warehouse, small_case)[0].recommended_action
    other = {"advance": "decline", "decline": "advance"}[recommended]
    with pytest.raises(
        ReviewError, match=f"action: the recommendation was {recommended}; to {verdict} means"
    ):
        record(verdict=verdict, action=other if verdict == "agree" else recommended)


def test_rhythms_see_the_newest_review_that_was_known_by_then(
    settings, warehouse, small_case, record, rounds, as_of
):
    def seen(hours: int) -> list[bool]:
        rows = matured.reviewed(Loop(settings, warehouse), small_case.name, as_of + timedelta(hours=hours))
        assert set(rows["decided_at"]) <= {as_of}
        assert set(zip(rows["arm"], rows["model_version"], strict=True)) <= {("champion", 1)}
        return rows["overruled"].tolist()

    record()
    record(
        reviewer="B. Li", verdict="agree", reason_code=None, words="", reviewed_at=as_of + timedelta(hours=4)
    )
    assert [seen(hours) for hours in (1, 2, 3, 4)] == [[], [True], [True], [False]]
    assert matured.reviewed(Loop(settings, warehouse), "another", as_of + timedelta(days=9)).empty
