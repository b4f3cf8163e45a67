"""What names and values say about a column: pure functions."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from functools import cache, cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from hrloop.sources.contract import Column, Table

WORDS = Path(__file__).with_name("words.yaml")
ALIKE = 0.8  # names that are less alike have little more in common than their language
FEW = 30  # words that a column of kinds has at most
_MOST = 0.98  # of the values must be of a kind for the column to be: exports hold a wrong one here and there
_DISTINCT = 1_000  # values that are looked at, the most frequent first
_LISTED = 0.2  # of the values hold what separates items, where items are listed
_NUMBERED = {"no", "nr", "num", "nbr", "nummer"}  # short for number
_SNAPSHOT = 0.5  # of the people who have a row on a day have one on the next day, too
_DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d",
         "%d.%m.%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%d-%b-%Y")  # fmt: skip
_MONTHS = ("%Y-%m", "%m.%Y", "%m/%Y", "%Y/%m", "%Y%m", "%b %Y", "%B %Y")
_TIMES = ("%H:%M", "%H:%M:%S")
ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?")
_OFFSET = re.compile(r"(Z|[+-]\d{2}(:?\d{2})?)$")
_NUMBER = re.compile(r"[+-]?(\d{1,3}([ .'’\u00a0]\d{3})+|\d+)?([.,]\d+)?")
_COMMA = re.compile(r"[+-]?(\d{1,3}([ .'’\u00a0]\d{3})+|\d*),\d+")
_POINT = re.compile(r"[+-]?\d*\.\d+")


@dataclass(frozen=True)
class Seen:
    """A column of an offer: its name, and its values that are there, trimmed, with how often each is."""

    name: str
    rows: int
    counts: Counter

    @classmethod
    def of(cls, name: str, column: pa.ChunkedArray) -> "Seen":
        counts: Counter = Counter()
        for found in pc.value_counts(column.combine_chunks()).to_pylist():
            value = (found["values"] or "").strip()
            if value and value.lower() != "nan":
                counts[value] += found["counts"]
        return cls(name, len(column), counts)

    @property
    def there(self) -> int:
        return self.counts.total()

    @cached_property
    def distinct(self) -> list[str]:
        return [value for value, _ in self.counts.most_common(_DISTINCT)]

    @cached_property
    def formats(self) -> list[str]:
        """The strptime formats that its values are written in; ISO 8601 is not among them."""
        return [] if self.is_iso else _formats(self.distinct)

    @cached_property
    def iso_share(self) -> float:
        return share(self.distinct, lambda value: bool(ISO_TIME.fullmatch(value)))

    @property
    def is_iso(self) -> bool:
        return bool(self.distinct) and self.iso_share >= _MOST

    @property
    def is_time(self) -> bool:
        return self.is_iso or bool(self.formats)

    @property
    def is_day(self) -> bool:
        return self.is_iso or any("%d" in form for form in self.formats)

    @cached_property
    def number_share(self) -> float:
        return share(self.distinct, lambda value: value not in "+-" and bool(_NUMBER.fullmatch(value)))

    @property
    def is_number(self) -> bool:
        return bool(self.distinct) and self.number_share >= _MOST

    @property
    def has_commas(self) -> bool:
        """Whether numbers are written with a decimal comma."""
        return any(map(_COMMA.fullmatch, self.distinct)) and not any(map(_POINT.fullmatch, self.distinct))

    @property
    def is_local(self) -> bool:
        """Whether a time among its values has no offset."""
        return any(not _OFFSET.search(value) or ISO_DAY.fullmatch(value) for value in self.distinct)

    @property
    def is_unique(self) -> bool:
        return self.there == self.rows == len(self.counts)

    @property
    def has_few_words(self) -> bool:
        return 0 < len(self.counts) <= FEW


def share(values: list[str], of_kind: Callable[[str], bool]) -> float:
    return sum(map(of_kind, values)) / len(values) if values else 0.0


def _formats(values: list[str]) -> list[str]:
    candidates = [*_DAYS, *_MONTHS, *(f"{day} {time}" for day in _DAYS for time in _TIMES)]
    found = [form for form in candidates if _are_in(values, form)]
    return found or (["%Y"] if _are_in(values, "%Y") else [])


def _are_in(values: list[str], form: str) -> bool:
    if not any(is_in(value, form) for value in values[:20]):  # tells most formats apart
        return False
    return share(values, lambda value: is_in(value, form)) >= _MOST


def is_in(value: str, form: str) -> bool:
    """Whether a value is a date in this format, of a year that HR data may speak of."""
    if form in ("%Y%m%d", "%Y%m") and len(value) != len(form) + 2 * (form == "%Y%m%d"):
        return False
    try:
        return 1900 <= datetime.strptime(value, form).year <= 2100  # noqa: DTZ007 - only tried
    except ValueError:
        return False


@cache
def words() -> dict[str, dict]:
    """The words of ``words.yaml``."""
    return yaml.safe_load(WORDS.read_text(encoding="utf-8"))


def words_of_column(table: Table, name: str) -> list[str]:
    """What a column of the contract is called, by itself and by the systems of others."""
    known = words()["columns"]
    return [name, *known.get(f"{table.full_name}.{name}", known.get(name, []))]


def known_values(table: Table, name: str) -> dict[str, str]:
    """Folded word: the contract's value for it. Empty for a column that may hold anything."""
    column = table.columns[name]
    given = words()["values"].get("boolean" if column.type == "boolean" else f"{table.full_name}.{name}", {})
    return {fold(word): value for value, others in given.items() for word in [value, *others]}


@cache
def fold(word: str) -> str:
    """A word without case, accents and punctuation; Müller, Mueller and MULLER are the same."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = "".join(sign for sign in plain if sign.isalnum())
    return plain.replace("ae", "a").replace("oe", "o").replace("ue", "u")


@cache
def tokens(name: str) -> frozenset[str]:
    """The words of a name, in whatever case it is written."""
    parted = re.sub(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])", " ", name)
    folded = (fold(part) for part in re.split(r"[\W_]+", parted))
    return frozenset("number" if part in _NUMBERED else part for part in folded if part)


@cache
def similarity(one: str, other: str) -> float:
    """How alike two names are: 1 for the same letters, else by letters or by words in common."""
    if fold(one) == fold(other):
        return 1.0
    mine, theirs = tokens(one), tokens(other)
    common = 2 * len(mine & theirs) / max(len(mine) + len(theirs), 1)
    letters = SequenceMatcher(None, fold(one), fold(other), autojunk=False)
    if letters.real_quick_ratio() <= max(common, ALIKE) or letters.quick_ratio() <= max(common, ALIKE):
        return 0.95 * common  # the letters cannot say more
    return 0.95 * max(common, letters.ratio())


def likeness(name: str, words: Iterable[str]) -> float:
    """How alike a name is to the nearest of some words."""
    return max(similarity(name, word) for word in words)


def fit(table: Table, name: str, seen: Seen) -> float:
    """How well values suit a column of the contract: 0 they cannot be its, 0.5 nothing to tell, 1 they do."""
    column = table.columns[name]
    if not seen.distinct:
        return 0.5
    if column.type in ("date", "timestamp"):
        return float(seen.is_time)
    if name == "birth_year":
        return float(seen.is_time or seen.is_number)
    if column.type in ("number", "integer"):
        return 1.0 if seen.is_number else 0.3 * seen.has_few_words
    known = known_values(table, name)
    if known:
        said = share(seen.distinct, lambda value: fold(value) in known)
        return max(said, 0.4 * seen.has_few_words)
    if name == "email":
        return float(share(seen.distinct, lambda value: "@" in value) >= _MOST)
    return _fit_of_text(table, name, column, seen)


def _fit_of_text(table: Table, name: str, column: Column, seen: Seen) -> float:
    if share(seen.distinct, lambda value: "@" in value) >= _MOST:
        return 0.0
    if name in table.identifiers:
        if table.key == (name,) and not seen.is_unique:
            return 0.4
        return 0.3 if share(seen.distinct, lambda value: " " in value) > 0.5 else 0.8
    if column.type == "list":
        return 1.0 if list_separator(seen) else 0.6
    if seen.is_iso:
        return 0.1
    return 0.7


def is_snapshots(people: Sequence, days: Sequence) -> bool:
    """Whether rows are snapshots: most who have a row on one day have one on the next; changes are scattered.

    ``people`` and ``days``: who a row is about, and of which day; the days in an order of their own.
    """
    rows = pd.DataFrame({"who": people, "day": days}).dropna().drop_duplicates()
    rows["number"] = pd.factorize(rows["day"], sort=True)[0]
    rows = rows[["who", "number"]]
    again = rows.merge(rows.assign(number=rows["number"] - 1))
    before_the_last = int((rows["number"] < rows["number"].max()).sum())
    return before_the_last > 0 and len(again) >= _SNAPSHOT * before_the_last


def list_separator(seen: Seen) -> str | None:
    """What separates the items of lists, where many values hold it."""
    for sign in ("|", ";", ",", "/"):
        if share(seen.distinct, lambda value: sign in value) >= _LISTED:  # noqa: B023
            return sign
    return None
