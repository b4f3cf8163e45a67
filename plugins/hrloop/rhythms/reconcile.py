"""The daily reconcile: what MLflow shows and what the ledger says are brought together, and told."""

from datetime import datetime

from hrloop import release
from hrloop.rhythms import Loop, recorded

STEP = "reconcile_registry"


def reconcile(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Put aliases back that were moved by hand, finish what was cut short, and record what was judged.

    Returns, in words, what had been ``moved`` (empty when registry and ledger agreed), and the versions
    whose rejection or time-out came into the ledger.
    """
    declaration = loop.use_case(use_case)
    with recorded(loop, STEP, as_of, use_case) as summary:
        new = release.record_judgements(loop.warehouse, loop.registry, declaration, as_of)
        summary["recorded"] = [f"version {row.version}: {row.reasons[0]}" for row in new]
        summary["moved"] = release.reconcile(loop.warehouse, loop.registry, declaration)
    return summary
