"""The model registry: versions of a use case's model on an MLflow server, and their aliases.

A version's artefact is a folder of plain data: ``model.ubj``, ``fitted.json``, ``evidence.json`` (and
MLflow's own ``MLmodel``, which says how to read it). Nothing in it is pickled, and the SHA-256 over its
files is kept as a tag, so that what is loaded is what was evaluated.
"""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from hrloop import as_of as moments
from hrloop import services
from hrloop.learning import Fitted
from hrloop.settings import Settings
from hrloop.usecase import UseCase

# Read by MLflow when it is imported: nothing of HR goes to anybody, and no pickle is ever loaded.
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

DESCRIPTION_FILE, EVIDENCE_FILE = "MLmodel", "evidence.json"
DESCRIPTION_LIMIT = 5000  # characters that MLflow's store holds of a version's description
_COLUMN_TYPES = {"number": "double", "boolean": "double", "category": "string"}


class RegistryError(RuntimeError):
    """The registry does not hold what was asked of it."""


class NoChampion(RegistryError):
    """No version of the use case has been promoted yet."""


class UnreadableModel(RegistryError):
    """The artefact of a version is missing, not what was registered, or cannot be loaded."""


@dataclass(frozen=True)
class Version:
    """One version of a model, as the registry has it."""

    use_case: str
    number: int
    run_id: str
    tags: Mapping[str, str]
    description: str


class Registry:
    """An MLflow server and one of its users.

    MLflow's client takes credentials from the environment alone; they stand there only while a call runs,
    one call of this process at a time.
    """

    _one_at_a_time = threading.RLock()

    def __init__(self, tracking_uri: str, username: str, password: str, registry_uri: str | None = None):
        self.tracking_uri, self.username = tracking_uri, username
        self._password = password
        self._client = MlflowClient(tracking_uri, registry_uri or tracking_uri)

    def __repr__(self) -> str:
        return f"Registry({self.tracking_uri!r}, {self.username!r})"

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """MLflow's own client, acting as this user as long as the block runs."""
        local = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
        narrow = {
            "MLFLOW_TRACKING_USERNAME": self.username,
            "MLFLOW_TRACKING_PASSWORD": self._password,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "NO_PROXY": local,
        }
        with self._one_at_a_time:
            before = {name: os.environ.get(name) for name in narrow}
            os.environ.update(narrow)
            try:
                yield self._client
            finally:
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value

    # --- writing -----------------------------------------------------------------------------------------

    def register(
        self,
        use_case: UseCase,
        fitted: Fitted,
        *,
        key: str,
        evidence: Mapping,
        metrics: Mapping[str, float],
        parameters: Mapping[str, object],
        frame: pd.DataFrame,
        description: str,
        tags: Mapping[str, str],
        as_of: datetime,
    ) -> int:
        """Make a version of this model, and return its number. With the same key it is made once.

        The version comes last and with all its tags, so that it is there whole or not at all; a run that
        was killed before is removed by the next attempt.
        """
        name, stamp = use_case.name, int(as_of.timestamp() * 1000)
        with self.client() as client:
            made = self._find(name, key)
            if made is not None:
                return made
            experiment = client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
            for rest in client.search_runs([experiment_id], f"tags.`hrloop.key` = '{key}'"):
                for half in client.search_logged_models(
                    [experiment_id], filter_string=f"source_run_id = '{rest.info.run_id}'"
                ):
                    client.delete_logged_model(half.model_id)
                client.delete_run(rest.info.run_id)
            run = client.create_run(
                experiment_id, start_time=stamp, tags={"hrloop.key": key}, run_name=moments.text(as_of)
            )
            run_id = run.info.run_id
            data = _lineage(use_case, frame, as_of)
            client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
            model = client.create_logged_model(
                experiment_id, name=f"{name}-{stamp}", source_run_id=run_id, model_type="hrloop"
            )
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            client.log_batch(
                run_id,
                metrics=[
                    Metric(k, float(v), stamp, 0, model.model_id, data.name, data.digest, run_id=run_id)
                    for k, v in metrics.items()
                ],
                params=[Param(k, str(v)) for k, v in parameters.items()],
            )
            with tempfile.TemporaryDirectory() as folder:
                where = Path(folder)
                fitted.save(where)
                (where / EVIDENCE_FILE).write_text(json.dumps(evidence, sort_keys=True), encoding="utf-8")
                sha256 = digest_of(where)
                _describe(use_case, model.model_id, where)
                client.log_model_artifacts(model.model_id, folder)
            client.finalize_logged_model(model.model_id, "READY")
            client.set_terminated(run_id, "FINISHED", stamp)
            self._make_model(use_case)
            version = client.create_model_version(
                name,
                f"models:/{model.model_id}",
                run_id,
                tags={**tags, "hrloop.key": key, "artefact.sha256": sha256},
                description=_held(description),
                await_creation_for=0,  # it is ready at once: nothing is copied
                model_id=model.model_id,
            )
            return int(version.version)

    def _make_model(self, use_case: UseCase) -> None:
        with self.client() as client:
            try:
                client.create_registered_model(use_case.name, description=use_case.description)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def _find(self, name: str, key: str) -> int | None:
        with self.client() as client:
            found = client.search_model_versions(f"name = '{name}' and tags.`hrloop.key` = '{key}'")
        return int(found[0].version) if found else None

    def tag(self, use_case: str, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version, in the order given."""
        with self.client() as client:
            for key, value in tags.items():
                client.set_model_version_tag(use_case, str(number), key, value)

    def describe(self, use_case: str, number: int, words: str) -> None:
        """Give a version another description."""
        with self.client() as client:
            client.update_model_version(use_case, str(number), _held(words))

    def set_alias(self, use_case: str, alias: str, number: int | None) -> None:
        """Point an alias at a version, or with None take it away."""
        with self.client() as client:
            if number is None:
                client.delete_registered_model_alias(use_case, alias)
            else:
                client.set_registered_model_alias(use_case, alias, str(number))

    # --- reading -----------------------------------------------------------------------------------------

    def aliases(self, use_case: str) -> dict[str, int]:
        """alias → version of a use case; empty when it has no model."""
        with self.client() as client:
            try:
                model = client.get_registered_model(use_case)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}
        return {alias: int(number) for alias, number in model.aliases.items()}

    def version(self, use_case: str, number: int) -> Version:
        """A version by its number. Raises RegistryError when there is none."""
        with self.client() as client:
            try:
                found = client.get_model_version(use_case, str(number))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise RegistryError(
                    f"{use_case} has no version {number} at {self.tracking_uri}; see its model page"
                ) from error
        return Version(use_case, number, found.run_id, dict(found.tags), found.description or "")

    def versions(self, use_case: str) -> list[Version]:
        """All versions of a use case, oldest first."""
        with self.client() as client:
            found, token = [], None
            while True:
                page = client.search_model_versions(f"name = '{use_case}'", page_token=token)
                found += [
                    Version(use_case, int(v.version), v.run_id, dict(v.tags), v.description or "")
                    for v in page
                ]
                token = page.token
                if not token:
                    return sorted(found, key=lambda version: version.number)

    def requested(self, use_case: str) -> list[int]:
        """Versions that wait for their owner, oldest first."""
        return self._with_status(use_case, "requested")

    def approved(self, use_case: str) -> list[int]:
        """Versions that their owner approved, promoted ones among them, oldest first."""
        return self._with_status(use_case, "approved")

    def _with_status(self, use_case: str, status: str) -> list[int]:
        return [v.number for v in self.versions(use_case) if v.tags.get("approval.status") == status]

    def load(self, use_case: str, number: int, sha256: str | None = None) -> "Artefact":
        """The artefact of a version, verified.

        Raises UnreadableModel when it is not there, is not the one that was registered (by its tag, and by
        ``sha256`` where given), or does not load.
        """
        version = self.version(use_case, number)
        with tempfile.TemporaryDirectory() as folder:
            try:
                with self.client() as client:
                    source = client.get_model_version_download_uri(use_case, str(number))
                    where = Path(
                        download_artifacts(
                            artifact_uri=source, dst_path=folder, tracking_uri=self.tracking_uri
                        )
                    )
            except (MlflowException, OSError) as error:
                raise UnreadableModel(_unreadable(version, "has no artefact to download")) from error
            found = digest_of(where)
            for expected in filter(None, (version.tags.get("artefact.sha256", "(no tag)"), sha256)):
                if found != expected:
                    raise UnreadableModel(
                        _unreadable(version, f"was registered with SHA-256 {expected}, and now has {found}")
                    )
            try:
                evidence = json.loads((where / EVIDENCE_FILE).read_text(encoding="utf-8"))
                return Artefact(version, Fitted.load(where), evidence, found)
            except Exception as error:
                raise UnreadableModel(_unreadable(version, f"does not load: {error}")) from error


@dataclass(frozen=True)
class Artefact:
    """What a version consists of: the model, what was measured of it, and the SHA-256 over both."""

    version: Version
    fitted: Fitted
    evidence: dict
    sha256: str


def _unreadable(version: Version, what: str) -> str:
    return (
        f"{version.use_case} version {version.number} {what}. Nothing is decided with it: restore its"
        f" artefact, or go back with `hrloop rollback {version.use_case}`"
    )


def connect(settings: Settings, user: str = services.SERVICE_ACCOUNT) -> Registry:
    """The registry of this installation, as one of its users."""
    return Registry(services.mlflow_url(settings), user, services.mlflow_password(settings, user))


def log_in(settings: Settings, user: str, password: str) -> Registry:
    """The registry of this installation, as a person with a password of their own.

    Raises RegistryError when the MLflow server does not know the two, or does not answer.
    """
    if not services.mlflow_knows(settings, user, password):
        raise RegistryError(
            f"{services.mlflow_url(settings)} does not know {user!r} with this password, or does not answer:"
            " log in as in MLflow's page, or start it with `make up`"
        )
    return Registry(services.mlflow_url(settings), user, password)


def champion(registry: Registry, use_case: UseCase) -> tuple[int, Fitted]:
    """The version that the alias ``champion`` names, and its model, read and verified.

    Raises NoChampion where there is none, UnreadableModel where it is not what was registered.
    """
    number = registry.aliases(use_case.name).get("champion")
    if number is None:
        raise NoChampion(f"{use_case.name} has no champion yet: train, approve and promote a version first")
    return number, registry.load(use_case.name, number).fitted


def digest_of(folder: Path) -> str:
    """SHA-256 over names and contents of the files in a folder, MLflow's own description left out."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DESCRIPTION_FILE:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def frame_digest(frame: pd.DataFrame) -> str:
    """32 hex digits that name the content of a frame: equal rows and columns in equal order, equal digest."""
    rows = pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()
    return hashlib.sha256(" ".join(map(str, frame.columns)).encode() + rows).hexdigest()[:32]


def _held(words: str) -> str:
    """As much of a description as MLflow holds; the evidence beside the model has all of it."""
    told = f"\n\n… all of it is in {EVIDENCE_FILE} beside the model."
    return words if len(words) <= DESCRIPTION_LIMIT else words[: DESCRIPTION_LIMIT - len(told)] + told


def _lineage(use_case: UseCase, frame: pd.DataFrame, as_of: datetime) -> Dataset:
    """The training frame as MLflow's data set: its digest, where it came from, its columns and sizes."""
    source = {
        "frame": "hrloop.features.training_frame",
        "use_case": use_case.name,
        "as_of": moments.text(as_of),
    }
    labels = int((frame["label_status"] == "observed").sum())
    columns = [{"name": f.name, "type": _COLUMN_TYPES[f.type], "required": False} for f in use_case.features]
    return Dataset(
        name=f"{use_case.name} training frame",
        digest=frame_digest(frame),
        source_type="hrloop",
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": len(frame), "observed_labels": labels}),
    )


def _describe(use_case: UseCase, model_id: str, folder: Path) -> None:
    """Write ``MLmodel``: the signature, and how ``mlflow.pyfunc.load_model`` reads the folder."""
    inputs = [ColSpec(_COLUMN_TYPES[f.type], f.name, required=False) for f in use_case.features]
    signature = ModelSignature(Schema(inputs), Schema([ColSpec("double", "probability")]))
    model = Model(signature=signature, model_id=model_id)
    model.add_flavor("python_function", loader_module="hrloop.release.pyfunc")
    model.save(str(folder / DESCRIPTION_FILE))
