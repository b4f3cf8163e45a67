"""The daily reconcile: what MLflow shows and what the ledger says are brought together, and told."""

from datetime import datetime

from hrloop import release
from hrloop.rhythms import Loop, recorded

STEP = "reconcile_registry"


def reconcile(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Put aliases back that were moved by hand, and finish what was cut short.

    Returns, in words, what had been moved; empty when registry and ledger agreed.
    """
    declaration = loop.use_case(use_case)
    with recorded(loop, STEP, as_of, use_case) as summary:
        summary["moved"] = release.reconcile(loop.warehouse, loop.registry, declaration)
    return summary
