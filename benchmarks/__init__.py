"""Speed of the loop's parts, each beside a reference that is measured in the same run."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

# Ten times the rows may take sixteen times as long: sorting, and caches that no longer hold them.
GROWTH_LIMIT = 1.2
# Limits on bulk work: below these sizes, what a step costs at any number of rows (a transaction, a verdict, a
# task of dbt) is most of the figure, and none is set. Many rows are read or computed, very many are stored.
MANY, VERY_MANY = 100_000, 1_000_000


@dataclass(frozen=True)
class Row:
    """One measured figure (``ours``) beside its reference, and the ratio that it must keep.

    ``n``: applications; ``ours`` and ``reference`` are in ``unit``; ``limit`` is the bound on ``ratio``,
    from below for rates and from above for all else, None where none is set; ``holds`` says whether it is
    kept.
    """

    name: str
    n: int
    ours: float
    reference: float
    unit: str
    ratio: float
    limit: float | None
    holds: bool

    @property
    def seconds(self) -> float:
        """How long it took for n applications."""
        return self.n / self.ours if self.unit == "rows/s" else self.ours


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rate(name: str, n: int, turns: list[tuple[float, float]], limit: float | None, rows: int = 0) -> Row:
    """Rows a second over turns of (our seconds, the reference's seconds), of which ours may be the lower.

    ``rows``: in a turn, where these are not n. Turns are short and follow one another, and medians are
    taken: so other work on the machine, which meets now one and now the other, does not decide.
    """
    ours, theirs = ((rows or n) / median(column) for column in zip(*turns, strict=True))
    ratio = median(reference / own for own, reference in turns)
    return Row(name, n, ours, theirs, "rows/s", ratio, limit, limit is None or ratio >= limit)


def duration(name: str, n: int, turns: list[tuple[float, float]], limit: float | None) -> Row:
    """Seconds over turns as for ``rate``, of which ours may be the higher."""
    ours, theirs = (median(column) for column in zip(*turns, strict=True))
    ratio = median(own / reference for own, reference in turns)
    return Row(name, n, ours, theirs, "s", ratio, limit, limit is None or ratio <= limit)


def in_bulk(limit: float, n: int, bulk: int) -> float | None:
    """The limit from so many rows on."""
    return limit if n >= bulk else None


def at_most(name: str, n: int, ours: float, reference: float, unit: str, limit: float | None) -> Row:
    """A figure that may be so many times its reference."""
    ratio = ours / reference
    return Row(name, n, ours, reference, unit, ratio, limit, limit is None or ratio <= limit)


def peak_memory(name: str, n: int, limit: float) -> Row:
    """The most that this process ever held, in GB; with the references that were measured before."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # ru_maxrss is in KiB on Linux
    return at_most(name, n, peak, limit, "GB", 1.0)


def growth(rows: list[Row]) -> list[Row]:
    """For each name that was measured at several sizes, the exponent with which its time grows.

    It is the slope of log time over log n, by least squares; 1 is linear.
    """
    found = []
    for name in dict.fromkeys(row.name for row in rows):
        measured = [row for row in rows if row.name == name]
        sizes = [row.n for row in measured]
        if len(set(sizes)) > 1:
            slope, _ = np.polyfit(np.log(sizes), np.log([row.seconds for row in measured]), 1)
            found.append(at_most(f"growth: {name}", max(sizes), float(slope), 1.0, "exponent", GROWTH_LIMIT))
    return found
