"""The MLflow plugin: the server's model registry, in which an approval can be trusted.

The server finds it by the scheme of ``MLFLOW_REGISTRY_STORE_URI``: ``hr-`` before the database's own.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hrloop_mlflow.store import ApprovalStore

PREFIX = "hr-"


def open_store(store_uri: str) -> "ApprovalStore":
    """The registry in the database at this URI, ``hr-postgresql+psycopg2://…``."""
    # MLflow asks for entry points in every client too, which has no use for a store (1.5 s to import).
    from hrloop_mlflow.store import ApprovalStore

    return ApprovalStore(store_uri.removeprefix(PREFIX))
