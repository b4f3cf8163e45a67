"""Learners: frames in, fitted objects out. No database, no registry, no clock.

``fit`` learns with an ``Architecture``, ``Fitted`` scores, explains and is kept; ``search`` looks for a
better architecture, ``reweighting`` says how strongly each feature may be used; ``leaks.check`` refuses
features from the future; ``propensity`` weighs labels that exist only for those selected; ``calibration``
turns scores into probabilities that may be believed.
"""

from hrloop.learning.architecture import Architecture
from hrloop.learning.errors import InsufficientLabels, LeakError, LearningError, MissingColumn, OneClassOnly
from hrloop.learning.fitted import Fitted
from hrloop.learning.training import fit

__all__ = [
    "Architecture",
    "Fitted",
    "InsufficientLabels",
    "LeakError",
    "LearningError",
    "MissingColumn",
    "OneClassOnly",
    "fit",
]
