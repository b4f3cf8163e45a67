"""MLflow's registry and the ledger: propose, approve, promote, roll back, reconcile."""

from hrloop.release.doors import (
    Finding,
    ReleaseRefused,
    Serving,
    approve,
    calibrate,
    challenge,
    keep,
    promote,
    propose,
    reconcile,
    reject,
    request_approval,
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
    "challenge",
    "champion",
    "connect",
    "keep",
    "promote",
    "propose",
    "read",
    "reconcile",
    "reject",
    "request_approval",
    "rollback",
    "serving",
    "standing",
]
