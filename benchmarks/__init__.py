"""Speed of the loop's parts, each beside a reference that is measured in the same run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured rate (``ours``) beside its reference, and the ratio that it must keep.

    ``ours`` and ``reference`` are in ``unit``; ``limit`` is the bound on ``ratio``, and ``holds`` says
    whether it is kept.
    """

    name: str
    n: int
    ours: float
    reference: float
    unit: str
    ratio: float
    limit: float
    holds: bool
