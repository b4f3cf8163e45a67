"""MLflow's registry and the ledger: propose, approve, promote, roll back, reconcile."""

from hrloop.release.doors import (
    Finding,
    ReleaseRefused,
    Serving,
    approve,
    calibrate,
    keep,
    promote,
    propose,
    reconcile,
    record_judgements,
    reject,
    rollback,
    serving,
)
from hrloop.release.ledger import Release, Standing, read, standing
from hrloop.release.registry import (
    NoChampion,
    Registry,
    RegistryError,
    UnreadableModel,
    champion,
    connect,
    log_in,
)

__all__ = [
    "Finding",
    "NoChampion",
    "Registry",
    "RegistryError",
    "Release",
    "ReleaseRefused",
    "Serving",
    "Standing",
    "UnreadableModel",
    "approve",
    "calibrate",
    "champion",
    "connect",
    "keep",
    "log_in",
    "promote",
    "propose",
    "read",
    "reconcile",
    "record_judgements",
    "reject",
    "rollback",
    "serving",
    "standing",
]
