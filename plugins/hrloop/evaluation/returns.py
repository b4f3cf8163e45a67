"""What the loop saves in a year beside what it costs. Pure."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Returns:
    """Savings and cost of a year in one currency; either ratio is often quoted as "the ROI".

    Raises ValueError for an amount that is none, and for a cost that is not above 0.
    """

    saved: float
    cost: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.saved) and math.isfinite(self.cost) and self.cost > 0):
            raise ValueError(f"{self.saved} saved at a cost of {self.cost}: give amounts, and a cost above 0")

    @property
    def gross_ratio(self) -> float:
        """Savings by cost: 1 where nothing is gained."""
        return self.saved / self.cost

    @property
    def net_roi(self) -> float:
        """What the savings leave after the cost, by cost: 0 where nothing is gained."""
        return (self.saved - self.cost) / self.cost
