"""The model registry without a server: MLflow's own stores, opened in this process.

A replay makes thousands of calls, and a server for each would take longer to start than months take to live
through. The rules of approval are those of the server: the store is the same, and it is told who is logged
in, as the server tells it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flask
import hrloop_mlflow
import mlflow
from mlflow import MlflowClient
from sqlalchemy import URL

from hrloop import services
from hrloop.release import Registry


class StoreRegistry(Registry):
    """A registry's database and one of its users."""

    _app = flask.Flask(__name__)  # for its context, in which the store looks up who is logged in

    def __init__(self, database: str, username: str):
        super().__init__(database, username, "", registry_uri=f"{hrloop_mlflow.PREFIX}{database}")

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """MLflow's own client, acting as this user as long as the block runs."""
        with super().client() as client, self._app.app_context():
            flask.g.mlflow_authenticated_user = self.username
            yield client


def open_registry(database: URL, artefacts: Path, name: str) -> tuple[StoreRegistry, StoreRegistry]:
    """The registry in this database as the service account, and as the model owner.

    Its tables, and the experiment of this ``name`` with its artefacts in a folder, are made where they are
    not there yet. One database a process: MLflow looks what is registered up at the process's own address.
    """
    os.environ["PGPASSWORD"] = str(database.password)  # an address with a password would stand in messages
    os.environ["MLFLOW_AUTH_ADMIN_USERNAME"] = services.SERVICE_ACCOUNT
    address = database._replace(password=None).render_as_string()
    mlflow.set_tracking_uri(address)
    service, owner = (StoreRegistry(address, user) for user in (services.SERVICE_ACCOUNT, services.OWNER))
    with service.client() as client:
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name, artifact_location=artefacts.as_uri())
    return service, owner
