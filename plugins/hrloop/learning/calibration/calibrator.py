"""What every calibrator is: plain data that turns a score into a probability."""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np


class Calibrator(ABC):
    """A fitted map from score to probability: a frozen dataclass of numbers and tuples of them."""

    kind: ClassVar[str]

    @abstractmethod
    def probability(self, score: np.ndarray) -> np.ndarray:
        """Calibrated probability (n,) of scores (n,) between 0 and 1; never falls where the score rises."""

    def as_dict(self) -> dict[str, Any]:
        """Kind and parameters, as JSON holds them."""
        return {"kind": self.kind, **asdict(self)}
