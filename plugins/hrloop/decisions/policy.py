"""The policy of a decision round: rank, advance, explore, route. Pure functions of arrays of n cases.

Chance comes from keyed hashes (HMAC-SHA-256 under a secret of the installation): nobody can foresee or
steer a draw, and the same case gets the same draw whenever it is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from hrloop import arrow, keyed

if TYPE_CHECKING:
    from hrloop.usecase import Decision


@dataclass(frozen=True)
class Ranked:
    """Cases ranked in their groups: ``order`` sorts them by group and rank; rank is 1 for the highest."""

    order: np.ndarray
    start: np.ndarray  # per case: where its group begins in ``order``
    rank: np.ndarray
    size: np.ndarray  # per case: cases in its group


@dataclass(frozen=True)
class Explored:
    """What is recommended: ``advance``, the cases that a draw turned over, and P(advance) per case."""

    advance: np.ndarray
    turned: np.ndarray
    propensity: np.ndarray


def draws(key: str, purpose: str, ids: Sequence[str], where: np.ndarray | None = None) -> np.ndarray:
    """A uniform number in [0, 1) per id: the first 53 bits of HMAC-SHA-256(key, purpose:id).

    ``where`` (n,): the ids that are drawn for, if not for all; NaN for the others.
    """
    hashed = keyed.hasher(key, f"{purpose}:")
    chosen = slice(None) if where is None else np.flatnonzero(where)
    picked = ids if where is None else [ids[one] for one in chosen.tolist()]
    digests = b"".join([hashed(one.encode()) for one in picked])
    first = np.frombuffer(digests, dtype=">u8")[::4]  # of the four that a digest of 32 bytes holds
    drawn = np.full(len(ids), np.nan)
    drawn[chosen] = (first >> 11).astype(float) / 2.0**53
    return drawn


def tied(group: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Whether another case of its group has the score of a case (n,)."""
    return pd.DataFrame({"group": group, "score": score}).duplicated(keep=False).to_numpy()


def rank(group: np.ndarray, score: np.ndarray, tie: np.ndarray) -> Ranked:
    """Ranks in each group by falling score; ``tie``, a number for each case that is ``tied``, parts them."""
    code, _ = pd.factorize(group)
    order = np.lexsort((tie, -score, code))
    in_order = code[order]
    first = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]]) if len(code) else np.empty(0, int)
    size = np.diff(np.r_[first, len(code)])
    start = first[code] if len(code) else np.empty(0, int)
    place = np.empty(len(code), int)
    place[order] = np.arange(len(code))
    return Ranked(order, start, place - start + 1, size[code] if len(code) else np.empty(0, int))


def places(size: np.ndarray, share: float) -> np.ndarray:
    """How many of a group of this size advance: the share, rounded half up, and at least one."""
    return np.maximum(1, np.floor(share * size + 0.5).astype(int))


def quota(size: np.ndarray, decision: "Decision") -> np.ndarray:
    """How many of a group of this size get the positive action in a round, as the use case declares.

    So many a week are, for a round, those of all the weeks of a period, rounded half up, and at least one.
    """
    if decision.advance_share is not None:
        return places(size, decision.advance_share.value)
    a_period = decision.advance_a_week.value * decision.period.weeks.value
    return np.minimum(size, max(1, int(a_period + 0.5)))


def pairs(size: np.ndarray, cut: np.ndarray, band: float) -> np.ndarray:
    """How many pairs around the cut are randomised: ``band`` of the group, rounded up.

    No more than there are cases on either side. The 1e-9 keeps 0.1 · 30 from being rounded up to 4.
    """
    return np.minimum(np.minimum(cut, size - cut), np.ceil(band * size - 1e-9).astype(int))


def paired(ranked: Ranked, cut: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
    """Which cases are inside the first ``cut`` of their group, and which in a pair around it (n,)."""
    inside = ranked.rank <= cut
    step = np.where(inside, cut - ranked.rank + 1, ranked.rank - cut)
    return inside, step <= pairs(ranked.size, cut, band)


def explore(ranked: Ranked, cut: np.ndarray, draw: np.ndarray, share: float, band: float) -> Explored:
    """Advance the first ``cut`` of each group, but for pairs around the cut that a draw swaps.

    The j-th case inside the cut (rank cut+1-j) and the j-th outside (rank cut+j) are a pair, for j up to
    pairs(…). Each pair is swapped with probability ε = ``share``, decided by the draw of its inside case, so
    that exactly ``cut`` cases advance; no other draw is looked at. Hence P(advance) is, exactly:

        1 - ε   inside the cut and in a pair        1   inside, in no pair
        ε       outside the cut and in a pair       0   outside, in no pair
    """
    inside, in_pair = paired(ranked, cut, band)
    # The partner of rank r is 2·cut + 1 - r, on the other side of the cut.
    inner_rank = np.where(inside, ranked.rank, 2 * cut + 1 - ranked.rank)
    inner = ranked.order[ranked.start + np.where(in_pair, inner_rank, 1) - 1]
    turned = in_pair & (draw[inner] < share)
    sure = inside.astype(float)
    propensity = np.where(in_pair, np.where(inside, 1 - share, share), sure)
    return Explored(inside ^ turned, turned, propensity)


def route(
    confidence: np.ndarray,
    below: float,
    draw: np.ndarray,
    audit_share: float,
    edges: tuple[np.ndarray, list[str]],
) -> pa.ListArray:
    """Why a person looks at each case, as lists of texts; no reason, and the decision goes its automatic way.

    ``low_confidence`` below the threshold (equal to it is enough), ``audit`` for a random share,
    ``edge: …`` for each way in which the case lies outside of what the model has seen: ``edges`` are cases
    (k,), and for each of these one such way in words.
    """
    unsure, audited = np.flatnonzero(confidence < below), np.flatnonzero(draw < audit_share)
    words = ["low_confidence"] * len(unsure) + ["audit"] * len(audited)
    outside, ways = edges
    words += [f"edge: {way}" for way in ways]
    row = np.concatenate([unsure, audited, outside])
    return arrow.gathered(row, words, len(confidence))
