"""A model registry that knows who approved a version, and lets nobody get round it.

MLflow records nowhere who set a tag, and whoever may edit a model may move any of its aliases. The server
calls this store for every change, whatever a client sent and whichever worker took it; the only state is the
database's, and a judgement is one transaction with the version's row locked. What holds:

- ``approval.status`` goes from ``requested`` to ``approved`` or ``rejected``, set by a person who gave
  ``approval.reason`` before; the store adds ``approval.by`` and ``approval.at`` from the login.
- A judgement holds for the reason it was given with: a new reason for an approved version makes it
  ``requested`` again. A rejection is final, and so is an approval once the version is in charge.
- Everything else that a release rests on is the service account's: versions and models, their descriptions,
  the aliases, change notes, and the tags that a version is made with. Those tags never change, for anybody.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import flask
from hrloop import as_of as moments
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.store.model_registry.dbmodels.models import SqlModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.validation import _validate_model_version_tag

STATUS, REASON, BY, AT = "approval.status", "approval.reason", "approval.by", "approval.at"
REQUESTED_AT = "approval.requested_at"
IN_CHARGE = ("champion", "previous")
ALIASES = (*IN_CHARGE, "challenger")
# MLflow's own tags are among them: one of them hides a version from every search.
RESERVED = ("approval.", "artefact.", "evidence.", "hrloop.", "mlflow.")
RESERVED_NAMES = ("as_of", "rhythm")
NOTES = "change_note."  # told once a version is in charge, and so by the service account at any time

Tags = Mapping[str, str]


def judged(tags: Tags, status: str, user: str, at: datetime) -> dict[str, str]:
    """The tags of a version after a person set its status; unchanged when it is said again.

    Raises MlflowException when the status is none, the version does not wait for one, or no reason was given.
    """
    before = tags.get(STATUS, "not proposed")
    if status not in ("approved", "rejected"):
        raise _wrong(f"{STATUS} is set to approved or rejected, not to {status!r}")
    if before == status and tags.get(BY) == user:
        return dict(tags)
    if before == "approved":
        raise _wrong(f"this version is approved: to judge it anew, set {REASON} to your reason first")
    if before != "requested":
        raise _wrong(f"this version is {before}: only one whose approval is requested can be judged")
    if not tags.get(REASON, "").strip():
        raise _wrong(f"set {REASON} first, in words: it is kept with your name. Then set {STATUS}")
    return {**tags, STATUS: status, BY: user, AT: moments.text(at.replace(microsecond=0))}


def reasoned(tags: Tags, reason: str, in_charge: bool) -> dict[str, str]:
    """The tags of a version after a person gave a reason; an approval has to be given anew with it.

    Raises MlflowException for a blank reason, and when there is nothing to judge any more.
    """
    before = tags.get(STATUS, "not proposed")
    if not reason.strip():
        raise _wrong(f"{REASON} is given in words")
    if tags.get(REASON) == reason:
        return dict(tags)
    if in_charge:
        raise _wrong("this version has been promoted: roll it back instead, with `hrloop rollback`")
    if before not in ("requested", "approved"):
        raise _wrong(f"this version is {before}: there is nothing to give a reason for")
    kept = {key: value for key, value in tags.items() if key not in (BY, AT)}
    return {**kept, STATUS: "requested", REASON: reason}


def administered(tags: Tags, key: str, value: str) -> dict[str, str]:
    """The tags of a version after the service account asked for approval, or gave up waiting for it.

    Raises MlflowException for a judgement, and when somebody judged meanwhile.
    """
    before = tags.get(STATUS, "not proposed")
    asks = key == REQUESTED_AT or (key, value) == (STATUS, "requested")
    if not asks and (key, value) != (STATUS, "timed_out"):
        raise _denied("the service account cannot judge a version: log in as a person, such as the owner")
    if tags.get(key) == value:
        return dict(tags)
    if asks and before != "not proposed":
        raise _wrong(f"this version is {before}: approval is asked for once")
    if not asks and before != "requested":
        raise _wrong(f"this version is {before}: only a request can time out")
    if key == STATUS and REQUESTED_AT not in tags:
        raise _wrong(f"set {REQUESTED_AT} before {STATUS}")
    return {**tags, key: value}


def _reserved(key: str) -> bool:
    """Whether a tag is not for typing; also one that only looks like such a tag."""
    plain = key.strip().casefold()
    return plain.startswith(RESERVED) or plain in RESERVED_NAMES


def _denied(message: str) -> MlflowException:
    return MlflowException(message, PERMISSION_DENIED)


def _wrong(message: str) -> MlflowException:
    return MlflowException(message, INVALID_PARAMETER_VALUE)


def _user() -> str:
    """Who is logged in, as MLflow's basic auth found. Raises MlflowException when nobody is."""
    user = flask.g.get("mlflow_authenticated_user") if flask.has_app_context() else None
    if not user:
        raise _denied(
            "nobody is logged in, so nothing is changed: start the server with --app-name basic-auth"
        )
    return user


def _service_only(method: Callable) -> Callable:
    """A method of the store that does nothing for anybody but the service account."""

    @wraps(method)
    def guarded(self: "ApprovalStore", *arguments: Any, **named: Any) -> Any:
        self._only_the_service(method.__name__.replace("_", " "))
        return method(self, *arguments, **named)

    return guarded


class ApprovalStore(SqlAlchemyStore):
    """MLflow's registry in a database, with the rules above; refusals are MlflowExceptions.

    The service account is the server's administrator, ``MLFLOW_AUTH_ADMIN_USERNAME``; without one: KeyError.
    """

    def __init__(self, db_uri: str):
        self.service_account = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"]
        super().__init__(db_uri)

    def _only_the_service(self, what: str) -> None:
        user = _user()
        if user != self.service_account:
            raise _denied(f"{user!r} may not {what}: only {self.service_account!r}, the service account, may")

    # --- models and versions -----------------------------------------------------------------------------

    create_registered_model = _service_only(SqlAlchemyStore.create_registered_model)
    update_registered_model = _service_only(SqlAlchemyStore.update_registered_model)
    rename_registered_model = _service_only(SqlAlchemyStore.rename_registered_model)
    delete_registered_model = _service_only(SqlAlchemyStore.delete_registered_model)
    set_registered_model_tag = _service_only(SqlAlchemyStore.set_registered_model_tag)
    delete_registered_model_tag = _service_only(SqlAlchemyStore.delete_registered_model_tag)
    update_model_version = _service_only(SqlAlchemyStore.update_model_version)
    delete_model_version = _service_only(SqlAlchemyStore.delete_model_version)
    transition_model_version_stage = _service_only(SqlAlchemyStore.transition_model_version_stage)

    @_service_only
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: list[ModelVersionTag] | None = None,
        *arguments: Any,
        **named: Any,
    ) -> ModelVersion:
        """Make a version, which may ask for approval and cannot come with one."""
        given: dict[str, str] = {}
        for tag in sorted(tags or (), key=lambda tag: tag.key):  # requested_at before status
            if tag.key.strip().casefold().startswith("approval."):
                given = administered(given, tag.key, tag.value)
        return super().create_model_version(name, source, run_id, tags, *arguments, **named)

    # --- aliases -----------------------------------------------------------------------------------------

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version; those of a release for the service account alone."""
        self._check_alias(alias)
        super().set_registered_model_alias(name, alias, version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias away; those of a release for the service account alone."""
        self._check_alias(alias)
        super().delete_registered_model_alias(name, alias)

    def _check_alias(self, alias: str) -> None:
        if alias.strip().casefold() in ALIASES:
            self._only_the_service(f"move the alias {alias}")

    # --- tags of a version -------------------------------------------------------------------------------

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Set a tag of a version; ``approval.reason`` and ``approval.status`` by the rules above."""
        user = _user()
        _validate_model_version_tag(tag.key, tag.value)
        if user == self.service_account and tag.key in (STATUS, REASON, REQUESTED_AT):
            self._change(name, version, lambda tags, _: administered(tags, tag.key, tag.value))
        elif tag.key == STATUS:
            now = datetime.now(UTC)
            self._change(name, version, lambda tags, _: judged(tags, tag.value, user, now))
        elif tag.key == REASON:
            self._change(name, version, lambda tags, in_charge: reasoned(tags, tag.value, in_charge))
        else:
            self._check_tag(tag.key)
            super().set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Delete a tag of a version, unless a release rests on it."""
        self._check_tag(key)
        super().delete_model_version_tag(name, version, key)

    def _check_tag(self, key: str) -> None:
        if key.strip().casefold().startswith(NOTES):
            self._only_the_service(f"write the tag {key}")
        if _reserved(key):
            raise _denied(
                f"the tag {key} is not for typing: the server writes it. To judge a version, set {REASON} and"
                f" then {STATUS}"
            )

    def _change(self, name: str, version: str, rule: Callable[[Tags, bool], Tags]) -> None:
        """Replace the tags of a version by what a rule makes of them and of whether it is in charge."""
        with self.ManagedSessionMaker(read_only=False) as session:
            row = self._get_sql_model_version(session, name, version)
            session.refresh(row, with_for_update=True)
            found = {tag.key: tag for tag in row.model_version_tags}
            aliases = row.registered_model.registered_model_aliases
            in_charge = any(one.version == row.version and one.alias in IN_CHARGE for one in aliases)
            before = {key: tag.value for key, tag in found.items()}
            after = rule(before, in_charge)
            for key in before.keys() - after.keys():
                session.delete(found[key])
            for key, value in after.items():
                if before.get(key) != value:
                    owner = {"workspace": row.workspace, "name": row.name, "version": row.version}
                    session.merge(SqlModelVersionTag(**owner, key=key, value=value))
