"""What may happen to the practice company: the world turns, or what it writes down does. Plain data.

``month`` is the index of the month from which on it happens, 0 for the first. A company lives through one
scenario, or through none.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Shift:
    """Success becomes rarer for whoever applies from a month on.

    ``log_odds``: by how much the log-odds of a good outcome fall, at each milestone alike.
    """

    month: int
    log_odds: float

    def __post_init__(self):
        _check_month(self)
        if not 0 < self.log_odds < np.inf:
            raise ValueError(f"shift.log_odds is {self.log_odds}; success becomes rarer by more than 0")


@dataclass(frozen=True)
class Turn:
    """What makes for a good hire counts otherwise, for whoever applies from a month on.

    The others are factors: 1 leaves a part of the performance as it is, 0 takes it away, -1 turns it round.
    """

    month: int
    experience: float = 1.0
    schooling: float = 1.0
    foreign: float = 1.0
    match: float = 1.0
    talent: float = 1.0
    drive: float = 1.0

    def __post_init__(self):
        _check_month(self)
        wrong = [name for name, factor in self.factors().items() if not np.isfinite(factor)]
        if wrong:
            raise ValueError(f"turn.{wrong[0]} is no finite number; give a factor, 1 for no change")

    def factors(self) -> dict[str, float]:
        """Part of the performance → factor."""
        return {name: value for name, value in asdict(self).items() if name != "month"}


@dataclass(frozen=True)
class Garble:
    """For some months a share of the reviews is entered with a rating drawn at random, for good."""

    month: int
    months: int
    share: float

    def __post_init__(self):
        _check_month(self)
        _check_share(self)
        if self.months < 1:
            raise ValueError(f"garble.months is {self.months}; give how many months it lasts, 1 or more")


@dataclass(frozen=True)
class Gap:
    """One month's applications come without ``years_experience`` in a share of the rows.

    The corrected file comes a day later, as that of the bad batch does.
    """

    month: int
    share: float

    def __post_init__(self):
        _check_month(self)
        _check_share(self)


Scenario = Shift | Turn | Garble | Gap
_KINDS = {kind.__name__.lower(): kind for kind in (Shift, Turn, Garble, Gap)}


def as_dict(scenario: Scenario) -> dict:
    """A scenario as JSON holds it: its kind and its numbers."""
    return {"kind": type(scenario).__name__.lower(), **asdict(scenario)}


def from_dict(data: dict) -> Scenario:
    """The scenario that ``as_dict`` wrote. Raises ValueError naming what is wrong and what may be there."""
    numbers = {name: value for name, value in data.items() if name != "kind"}
    kind = _KINDS.get(data.get("kind", ""))
    if kind is None:
        raise ValueError(f"scenario.kind is {data.get('kind')!r}; it may be {', '.join(_KINDS)}")
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(numbers) - known):
        raise ValueError(f"scenario.{unknown[0]}: a {data['kind']} has {', '.join(sorted(known))} alone")
    return kind(**numbers)


def _check_month(scenario) -> None:
    if scenario.month < 0:
        name = type(scenario).__name__.lower()
        raise ValueError(f"{name}.month is {scenario.month}; give the index of a month, 0 for the first")


def _check_share(scenario) -> None:
    if not 0 < scenario.share <= 1:
        name = type(scenario).__name__.lower()
        raise ValueError(f"{name}.share is {scenario.share}; give a share above 0 and at most 1")
