"""Learners: frames in, fitted objects out. No database, no registry, no clock.

``fit`` learns with an ``Architecture``, ``Fitted`` scores, explains and is kept; ``search`` looks for a
better architecture, ``reweighting`` says how strongly each feature may be used; ``leaks.check`` refuses
features from the future; ``propensity`` weighs labels that exist only for those selected, ``censoring``
those of cases that could not all be followed to the end; ``calibration`` turns scores into probabilities
that may be believed, and ``recalibration`` finds out whether newer labels ask for another.
"""

from hrloop.learning.architecture import Architecture
from hrloop.learning.errors import (
    InsufficientHistory,
    InsufficientLabels,
    LeakError,
    LearningError,
    MissingColumn,
    NobodyFollowed,
    OneClassOnly,
    TooEarly,
)
from hrloop.learning.fitted import Fitted
from hrloop.learning.training import fit

__all__ = [
    "Architecture",
    "Fitted",
    "InsufficientHistory",
    "InsufficientLabels",
    "LeakError",
    "LearningError",
    "MissingColumn",
    "NobodyFollowed",
    "OneClassOnly",
    "TooEarly",
    "fit",
]
