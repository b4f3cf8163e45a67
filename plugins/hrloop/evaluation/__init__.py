"""Evaluation: figures with their intervals, and the verdict they allow. Pure functions, no I/O.

``metrics`` measures probabilities, ``evidence`` gathers a first version's figures and ``comparison`` those of
a version beside the one in charge, ``experiment`` holds the statistics of a live experiment and of a watch,
``pooling`` lets segments learn from one another, ``verdict`` decides by all of them; ``fairness`` compares
selection between groups, ``drift`` distributions in time, ``power`` says how many cases a comparison needs,
``simulation`` shows how often the verdicts err, and ``returns`` sets savings beside their cost.
"""

from hrloop.evaluation.comparison import (
    Comparison,
    GroupFinding,
    compare,
    error_of_a_run,
    error_of_an_experiment,
    guard,
)
from hrloop.evaluation.evidence import Evidence, assess
from hrloop.evaluation.metrics import Interval
from hrloop.evaluation.verdict import Verdict, first, successor

__all__ = [
    "Comparison",
    "Evidence",
    "GroupFinding",
    "Interval",
    "Verdict",
    "assess",
    "compare",
    "error_of_a_run",
    "error_of_an_experiment",
    "first",
    "guard",
    "successor",
]
