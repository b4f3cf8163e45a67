"""Evaluation: figures with their intervals, and the verdict they allow. Pure functions, no I/O.

``metrics`` measures probabilities, ``evidence`` gathers a version's figures, ``verdict`` decides by them;
``fairness`` compares selection between groups, ``drift`` distributions in time, ``power`` says how many
cases a comparison needs.
"""

from hrloop.evaluation.evidence import Evidence, assess
from hrloop.evaluation.metrics import Interval
from hrloop.evaluation.verdict import Verdict, first

__all__ = ["Evidence", "Interval", "Verdict", "assess", "first"]
