"""Which offer is which table of the contract, and which of its columns is which."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from hrloop.adopt import evidence
from hrloop.adopt.evidence import Seen
from hrloop.adopt.offers import Offer
from hrloop.sources.contract import Table

_NAME, _VALUES = 0.7, 0.3  # what a column is called says more than what it holds
_PREFERRED = 0.02  # of two columns that a name may mean, the one without which a file is refused
_TABLE = 0.45  # the least likeness of a table: half of its columns, or its name and some


@dataclass(frozen=True)
class Match:
    """A column of an offer and the contract's. ``alike`` and ``fit`` run from 0 to 1."""

    old: str
    new: str
    alike: float
    fit: float

    @property
    def confidence(self) -> str:
        if self.alike == 1 and self.fit >= 0.5:
            return "sure"
        return "likely" if self.alike >= 0.9 and self.fit >= 0.4 else "guess"

    @property
    def why(self) -> str:
        """Confidence and reasons in words, without a value."""
        name = "a known word for it" if self.alike == 1 else f"its name is {self.alike:.0%} like a known word"
        if self.alike == 1 and evidence.fold(self.old) == evidence.fold(self.new):
            name = "the same name"
        values = "its values fit" if self.fit >= 0.7 else "its values say little"
        return f"{self.confidence}: {name}; {values if self.fit >= 0.4 else 'its values hardly fit'}"


@dataclass(frozen=True)
class Pairing:
    """An offer read as a table of the contract."""

    offer: Offer
    table: Table
    matches: tuple[Match, ...]

    @cached_property
    def by_column(self) -> dict[str, Match]:
        return {match.new: match for match in self.matches}

    @property
    def unused(self) -> list[str]:
        """The offer's columns that are no column of the contract."""
        used = {match.old for match in self.matches}
        return [name for name in self.offer.rows.column_names if name not in used]

    def seen(self, name: str) -> Seen:
        """What is seen of a column of the contract."""
        return self.offer.seen[self.by_column[name].old]

    def column(self, name: str) -> list[str | None]:
        """The values of a column of the contract."""
        return self.offer.rows[self.by_column[name].old].to_pylist()

    def is_number(self, name: str) -> bool:
        """Whether a column of the contract is a number and comes as one."""
        return self.table.columns[name].type in ("number", "integer") and self.seen(name).is_number

    @cached_property
    def score(self) -> float:
        """How much the offer looks like the table, 0 to 1."""
        named = evidence.likeness(
            self.offer.name, [self.table.name, *evidence.words()["tables"][self.table.full_name]]
        )
        asked = [name for name, column in self.table.columns.items() if column.required or column.critical]
        found = sum(self.by_column[name].alike for name in asked if name in self.by_column) / len(asked)
        taken = sum(match.alike for match in self.matches) / max(len(self.offer.seen), 1)
        return 0.3 * (named if named >= evidence.ALIKE else 0) + 0.45 * found + 0.25 * taken


def pairings(offers: Iterable[Offer], tables: Iterable[Table]) -> list[Pairing]:
    """For each table the offer that is read as it, so that together they are most alike; one table each."""
    grid = [[pair(offer, table) for table in tables] for offer in offers]
    if not grid:
        return []
    chosen = zip(*linear_sum_assignment([[p.score for p in row] for row in grid], maximize=True), strict=True)
    return [grid[row][column] for row, column in chosen if grid[row][column].score >= _TABLE]


def pair(offer: Offer, table: Table) -> Pairing:
    """The offer read as the table: each column as the one that it is most like, none twice."""
    matches = [[_match(table, name, seen) for name in table.columns] for seen in offer.seen.values()]
    weights = np.array([[_weight(table, match) for match in row] for row in matches])
    chosen = zip(*linear_sum_assignment(weights, maximize=True), strict=True)
    return Pairing(offer, table, tuple(matches[i][j] for i, j in chosen if weights[i, j] > 0))


def _match(table: Table, name: str, seen: Seen) -> Match:
    alike = evidence.likeness(seen.name, evidence.words_of_column(table, name))
    fit = evidence.fit(table, name, seen) if alike >= evidence.ALIKE else 0.0
    return Match(seen.name, name, alike, fit)


def _weight(table: Table, match: Match) -> float:
    """What the match is worth; 0 where names have nothing in common or values cannot be the column's."""
    if match.alike < evidence.ALIKE or match.fit == 0:
        return 0.0
    column = table.columns[match.new]
    return _NAME * match.alike + _VALUES * match.fit + _PREFERRED * (column.required or column.critical)
