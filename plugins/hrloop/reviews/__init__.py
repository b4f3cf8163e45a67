"""The human verdicts: what waits for a person, and what the person said. Append-only."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from hrloop import as_of as moments
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from hrloop.warehouse.tables import decisions, reviews

AGREE, OVERRULE = "agree", "overrule"
AGREED = "agreed"  # reason code of a verdict that needs no reason


class ReviewError(ValueError):
    """A review that cannot be recorded; the message names the field and what it may be."""


@dataclass(frozen=True)
class Waiting:
    """A decision that waits for a person: what is recommended, how surely, and why."""

    decision_id: str
    case_key: str
    group_key: str
    as_of: datetime
    recommended_action: str
    confidence: float
    rank: int
    group_size: int
    route_reasons: list[str]
    exploration: bool
    reasons: list[dict]


def queue(wh: Warehouse, use_case: UseCase, limit: int = 50) -> list[Waiting]:
    """Decisions routed to a person and not reviewed yet: oldest round first, in it the least sure first."""
    query = """
        select d.decision_id, d.case_key, d.group_key, d.as_of, d.recommended_action, d.confidence, d.rank,
               d.group_size, d.route_reasons, d.exploration, coalesce(d.reasons, '[]') as reasons
        from loop.decisions as d
        where d.use_case = :use_case and d.route = 'review'
          and not exists (select from loop.reviews as r where r.decision_id = d.decision_id)
        order by d.as_of, d.confidence, d.decision_id
        limit :limit
    """
    with wh.engine("engine").connect() as connection:
        rows = connection.execute(text(query), {"use_case": use_case.name, "limit": limit}).mappings()
        return [Waiting(**row) for row in rows]


def record(
    wh: Warehouse,
    use_case: UseCase,
    decision_id: str,
    reviewer: str,
    verdict: str,
    reviewed_at: datetime,
    action: str | None = None,
    reason_code: str | None = None,
    words: str = "",
) -> str:
    """Record a person's verdict on a decision, and return its id.

    To ``agree`` needs nothing more. To ``overrule`` needs a reason code that the use case declares and the
    reason in words; ``action`` is what is to be done instead (by default the other action). The same review
    sent again is recorded once. Raises ReviewError.
    """
    code, said, who = (reason_code or "").strip(), words.strip(), reviewer.strip()
    with wh.engine("engine").begin() as connection:
        decision = connection.execute(
            select(decisions.c.recommended_action).where(
                decisions.c.decision_id == decision_id, decisions.c.use_case == use_case.name
            )
        ).one_or_none()
        if decision is None:
            raise ReviewError(
                f"decision_id: {use_case.name} has no decision {decision_id!r};"
                " `hrloop review list` shows those that wait"
            )
        action = action or _implied(use_case, verdict, decision.recommended_action)
        _check(use_case, decision.recommended_action, who, verdict, action, code, said)
        row = {
            "decision_id": decision_id,
            "reviewer": who,
            "verdict": verdict,
            "action": action,
            "reason_code": code or AGREED,
            "words": said,
            "reviewed_at": moments.utc(reviewed_at),
        }
        identity = f"{decision_id}|{who}|{moments.text(reviewed_at)}"
        review_id = hashlib.sha256(identity.encode()).hexdigest()[:32]
        connection.execute(insert(reviews).values(review_id=review_id, **row).on_conflict_do_nothing())
        found = connection.execute(select(reviews).where(reviews.c.review_id == review_id)).mappings().one()
        differs = [name for name, value in row.items() if found[name] != value]
        if differs:
            raise ReviewError(
                f"{', '.join(differs)}: {who} has reviewed this decision at this very time with another"
                " content; a review is never changed, record a new one with its own time"
            )
    return review_id


def _implied(use_case: UseCase, verdict: str, recommended: str) -> str:
    actions = use_case.decision.actions
    other = actions.negative if recommended == actions.positive else actions.positive
    return other if verdict == OVERRULE else recommended


def _check(
    use_case: UseCase, recommended: str, reviewer: str, verdict: str, action: str, code: str, words: str
) -> None:
    codes = use_case.reviews.reason_codes
    actions = (use_case.decision.actions.positive, use_case.decision.actions.negative)
    if not reviewer:
        raise ReviewError("reviewer: is empty; say who reviewed")
    if verdict not in (AGREE, OVERRULE):
        raise ReviewError(f"verdict: {verdict!r} is neither {AGREE} nor {OVERRULE}")
    if action not in actions:
        raise ReviewError(f"action: {action!r} is none of {', '.join(actions)}")
    if (verdict == AGREE) != (action == recommended):
        raise ReviewError(
            f"action: the recommendation was {recommended}; to {verdict} means"
            f" {'the same' if verdict == AGREE else 'another'} action, not {action}"
        )
    if code and code not in codes:
        raise ReviewError(f"reason_code: {code!r} is not declared; codes are {', '.join(codes)}")
    if verdict == OVERRULE and not code:
        raise ReviewError(f"reason_code: is empty; to overrule needs one of {', '.join(codes)}")
    if verdict == OVERRULE and not words:
        raise ReviewError("words: are empty; to overrule needs the reason in words")
