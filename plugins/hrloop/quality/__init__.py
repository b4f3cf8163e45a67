"""Is what came in good enough? Suites run, rows quarantined and re-admitted, a verdict on every batch."""

from hrloop.quality.gate import Failure, GateReport, gate
from hrloop.quality.quarantine import Readmission, Refused, readmit
from hrloop.quality.suites import SuiteError, load_suites

__all__ = [
    "Failure",
    "GateReport",
    "Readmission",
    "Refused",
    "SuiteError",
    "gate",
    "load_suites",
    "readmit",
]
