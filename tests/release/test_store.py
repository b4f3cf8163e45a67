"""MLflow's registry with our store: who approved is known, and nobody gets round it, whatever is sent."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta

import flask
import pytest
import requests
from hrloop import release, services
from hrloop.release import Finding
from hrloop_mlflow import PREFIX, open_store
from hrloop_mlflow.store import ApprovalStore, administered, judged, reasoned
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event

AT = datetime(2026, 10, 2, 8, 30, 15, 999, tzinfo=UTC)
ASKED = {"approval.status": "requested", "approval.requested_at": "2026-10-01T06:00:00Z"}
REASONED = {**ASKED, "approval.reason": "Measured well."}
APPROVED = {
    **REASONED,
    "approval.status": "approved",
    "approval.by": "ada",
    "approval.at": "2026-10-02T08:30:15Z",
}
REJECTED = {**APPROVED, "approval.status": "rejected"}
TIMED_OUT = {**ASKED, "approval.status": "timed_out"}


# --- the rules -------------------------------------------------------------------------------------------


def test_a_judgement_is_stamped_and_said_twice_it_is_one():
    assert judged(REASONED, "approved", "ada", AT) == APPROVED
    assert judged(REASONED, "rejected", "ada", AT) == REJECTED
    assert judged(APPROVED, "approved", "ada", AT + timedelta(days=1)) == APPROVED


@pytest.mark.parametrize(
    ("tags", "status", "why"),
    [
        (ASKED, "approved", "set approval.reason first"),
        ({**ASKED, "approval.reason": " \n"}, "approved", "set approval.reason first"),
        (REASONED, "Approved", "approved or rejected, not to 'Approved'"),
        (REASONED, "requested", "approved or rejected, not to 'requested'"),
        (REASONED, "", "approved or rejected"),
        (APPROVED, "approved", "is approved: to judge it anew, set approval.reason to your reason first"),
        (APPROVED, "rejected", "is approved: to judge it anew"),
        (REJECTED, "approved", "is rejected: only one whose approval is requested"),
        (TIMED_OUT, "approved", "is timed_out: only one whose approval is requested"),
        ({"approval.reason": "x"}, "approved", "is not proposed"),
    ],
)
def test_judgements_that_are_refused(tags, status, why):
    with pytest.raises(MlflowException, match=why):
        judged(tags, status, "grace", AT)


def test_a_new_reason_opens_an_approval_again():
    assert reasoned(APPROVED, "On second thoughts.", in_charge=False) == {
        **ASKED,
        "approval.reason": "On second thoughts.",
    }
    assert reasoned(APPROVED, APPROVED["approval.reason"], in_charge=True) == APPROVED
    for tags, reason, in_charge, why in [
        (APPROVED, "New.", True, "has been promoted: roll it back"),
        (REJECTED, "New.", False, "is rejected: there is nothing"),
        (TIMED_OUT, "New.", False, "is timed_out: there is nothing"),
        ({}, "New.", False, "is not proposed: there is nothing"),
        (ASKED, " ", False, "in words"),
    ]:
        with pytest.raises(MlflowException, match=why):
            reasoned(tags, reason, in_charge)


def test_the_service_account_asks_once_and_gives_up_waiting():
    asked = administered({}, "approval.requested_at", ASKED["approval.requested_at"])
    assert administered(asked, "approval.status", "requested") == ASKED
    assert administered(ASKED, "approval.status", "requested") == ASKED
    assert administered(ASKED, "approval.status", "timed_out") == TIMED_OUT
    for tags, key, value, why in [
        ({}, "approval.status", "requested", "set approval.requested_at before"),
        ({}, "approval.status", "timed_out", "only a request can time out"),
        (APPROVED, "approval.status", "timed_out", "is approved: only a request can time out"),
        (REJECTED, "approval.status", "requested", "asked for once"),
        (ASKED, "approval.requested_at", "2026-10-09T06:00:00Z", "asked for once"),
        (REASONED, "approval.status", "approved", "log in as a person"),
        (APPROVED, "approval.status", "approved", "log in as a person"),
        (ASKED, "approval.reason", "Measured well.", "log in as a person"),
        ({}, "approval.by", "ada", "log in as a person"),
    ]:
        with pytest.raises(MlflowException, match=why):
            administered(tags, key, value)


PERSONS = st.sampled_from(["ada", "grace"])
STEPS = st.one_of(
    st.tuples(st.just("judge"), PERSONS, st.sampled_from(["approved", "rejected", "requested"])),
    st.tuples(st.just("reason"), PERSONS, st.sampled_from(["Good.", "Hurts part-time staff.", " "])),
    st.tuples(st.just("serve"), st.just("hrloop"), st.sampled_from(["approved", "requested", "timed_out"])),
)


@given(st.lists(STEPS, max_size=12))
def test_whatever_is_tried_a_judgement_is_a_person_s_own(steps):
    tags, reason, judge, final = dict(ASKED), None, None, None
    for what, user, word in steps:
        try:
            if what == "judge":
                after = judged(tags, word, user, AT)
            elif what == "reason":
                after = reasoned(tags, word, in_charge=False)
            else:
                after = administered(tags, "approval.status", word)
        except MlflowException:
            continue
        if what == "reason":
            reason = word
        if what == "judge" and after != tags:
            judge = user
        tags = after
        status = tags["approval.status"]
        assert final in (None, status)
        if status in ("rejected", "timed_out"):
            final = status
        if status in ("approved", "rejected"):
            assert (tags["approval.by"], tags["approval.reason"]) == (judge, reason)
            assert tags["approval.at"] == "2026-10-02T08:30:15Z"
        else:
            assert not {"approval.by", "approval.at"} & tags.keys()


# --- the server ------------------------------------------------------------------------------------------


@pytest.fixture
def version(warehouse, registry, small_case, decided, fitted, as_of) -> int:
    """A version that waits for approval."""
    finding = Finding("promote", "8 % fewer wrong recommendations.", ("better",))
    return release.propose(warehouse, registry, small_case, fitted(), finding, decided(), as_of)


@pytest.fixture(scope="module")
def administrator(mlflow_settings):
    """A second administrator, whom MLflow itself lets do everything: what stops her is the store."""
    url = f"{services.mlflow_url(mlflow_settings)}/api/2.0/mlflow/users"
    auth = (services.SERVICE_ACCOUNT, services.mlflow_password(mlflow_settings, services.SERVICE_ACCOUNT))
    person = {"username": "ada", "password": "a password of the tests"}
    with requests.Session() as session:
        session.trust_env, session.auth = False, auth
        session.post(f"{url}/create", json=person, timeout=30).raise_for_status()
        answer = session.patch(f"{url}/update-admin", json={"username": "ada", "is_admin": True}, timeout=30)
        answer.raise_for_status()
        yield person["username"], person["password"]
        session.delete(f"{url}/delete", json={"username": "ada"}, timeout=30).raise_for_status()


@pytest.fixture
def send(mlflow_settings, administrator):
    """Sends a request as a user: (status, message). ``encoded``: the body as a JSON-encoded string."""
    session = requests.Session()
    session.trust_env = False

    def call(user, method, path, body, encoded=False, prefix="api"):
        known = (services.SERVICE_ACCOUNT, services.OWNER, services.VIEWER)
        auth = (user, services.mlflow_password(mlflow_settings, user)) if user in known else administrator
        text = json.dumps(json.dumps(body)) if encoded else json.dumps(body)
        answer = session.request(
            method,
            f"{services.mlflow_url(mlflow_settings)}/{prefix}/2.0/mlflow/{path}",
            data=text,
            headers={"Content-Type": "application/json"},
            auth=auth,
            timeout=30,
        )
        return answer.status_code, answer.text

    yield call
    session.close()


def state(registry, use_case):
    """All that a refused request must leave as it is."""
    with registry.client() as client:
        models = [
            (model.name, model.description, model.tags, model.aliases)
            for model in client.search_registered_models()
        ]
        versions = client.search_model_versions(f"name = '{use_case.name}'")
        return models, [(v.version, v.description, v.tags, v.current_stage) for v in versions]


def source_of(registry, name):
    """What another version of this model could be made of."""
    with registry.client() as client:
        found = client.get_model_version(name, "1")
    model_id = found.source.removeprefix("models:/")
    return {"name": name, "source": found.source, "run_id": found.run_id, "model_id": model_id}


def forbidden(name, source):
    """Requests that only the service account may make, and tags that nobody may type."""
    version = {"name": name, "version": "1"}
    for alias in ("champion", "CHAMPION", "Challenger", "previous"):
        yield "POST", "registered-models/alias", {"alias": alias, **version}
        yield "DELETE", "registered-models/alias", {"alias": alias, "name": name}
    yield "POST", "registered-models/rename", {"name": name, "new_name": "mine"}
    yield "DELETE", "registered-models/delete", {"name": name}
    yield "PATCH", "registered-models/update", {"name": name, "description": "mine"}
    yield "POST", "registered-models/create", {"name": "mine"}
    yield "POST", "registered-models/set-tag", {"name": name, "key": "k", "value": "v"}
    yield "DELETE", "registered-models/delete-tag", {"name": name, "key": "k"}
    yield "POST", "model-versions/create", source
    yield "DELETE", "model-versions/delete", version
    yield "PATCH", "model-versions/update", {**version, "description": "mine"}
    stage = {**version, "stage": "Production", "archive_existing_versions": False}
    yield "POST", "model-versions/transition-stage", stage
    for key in (*typed(), "change_note.en", "Change_Note.sv"):
        yield "POST", "model-versions/set-tag", {**version, "key": key, "value": "owner"}
        yield "DELETE", "model-versions/delete-tag", {**version, "key": key}


def typed():
    """Tags that no one may type, the service account included."""
    yield from ("approval.by", "approval.at", "Approval.By", " approval.by", "approval.note")
    yield from ("evidence.verdict", "evidence.compared_with", "artefact.sha256", "hrloop.key", "as_of")
    yield from ("rhythm", "mlflow.prompt.is_prompt")


@pytest.mark.parametrize("user", [services.OWNER, services.VIEWER, "ada"])
def test_what_is_the_service_account_s_is_refused_to_everybody_else(
    version, registry, small_case, send, user
):
    registry.set_alias(small_case.name, "champion", version)
    before = state(registry, small_case)
    for method, path, body in forbidden(small_case.name, source_of(registry, small_case.name)):
        status, message = send(user, method, path, body)
        assert status == 403, (path, body, message)
        if user == "ada":  # past MLflow's own rights: it is the store that speaks, and says what to do
            assert "the service account, may" in message or "set approval.reason and" in message
        # A body that MLflow's own check of rights cannot read; and the address that the page uses
        assert send(user, method, path, body, encoded=True)[0] in (400, 403), (path, body)
        assert send(user, method, path, body, prefix="ajax-api")[0] == 403, (path, body)
    for key in ("approval.status", "approval.reason", "approval.requested_at"):
        asked = {"name": small_case.name, "version": "1", "key": key}
        assert send(user, "DELETE", "model-versions/delete-tag", asked)[0] == 403
    assert state(registry, small_case) == before


def test_what_not_even_the_service_account_may(version, registry, small_case, send):
    before = state(registry, small_case)
    asked = {"name": small_case.name, "version": "1"}
    typing = [("POST", "set-tag", key, "owner") for key in typed()]
    typing += [("DELETE", "delete-tag", key, None) for key in (*typed(), "approval.status")]
    typing += [
        ("POST", "set-tag", "approval.status", "approved"),
        ("POST", "set-tag", "approval.reason", "x"),
    ]
    for method, path, key, value in typing:
        body = {**asked, "key": key, **({} if value is None else {"value": value})}
        status, message = send(services.SERVICE_ACCOUNT, method, f"model-versions/{path}", body)
        assert status == 403, (path, key, message)
    source = source_of(registry, small_case.name)
    for tags in (
        {"approval.status": "approved"},
        {"approval.by": "owner"},
        {"Approval.At": "2026-10-01T06:00:00Z"},
    ):
        body = {**source, "tags": [{"key": key, "value": value} for key, value in tags.items()]}
        assert send(services.SERVICE_ACCOUNT, "POST", "model-versions/create", body)[0] == 403, tags
    assert state(registry, small_case) == before


def test_an_approval_as_the_page_sends_it(version, registry, small_case, send):
    def tag(user, key, value, **how):
        body = {"name": small_case.name, "version": "1", "key": key, "value": value}
        return send(user, "POST", "model-versions/set-tag", body, **how)

    def approval():
        tags = registry.version(small_case.name, 1).tags
        return {key: value for key, value in tags.items() if key.startswith("approval.")}

    before = approval()
    assert tag(services.VIEWER, "approval.reason", "Mine.")[0] == 403
    assert tag(services.VIEWER, "approval.status", "approved", encoded=True)[0] in (400, 403)
    status, message = tag(services.OWNER, "approval.status", "approved", prefix="ajax-api")
    assert (status, "set approval.reason first" in message) == (400, True)
    assert approval() == before

    assert tag(services.OWNER, "approval.reason", "Measured well.", prefix="ajax-api")[0] == 200
    assert tag(services.OWNER, "approval.status", "approved", prefix="ajax-api")[0] == 200
    stamped = approval()
    assert (stamped["approval.by"], stamped["approval.reason"]) == ("owner", "Measured well.")
    now = datetime.now(UTC)
    assert now - timedelta(minutes=1) < datetime.fromisoformat(stamped["approval.at"]) <= now

    # Said again it is the same; in somebody else's name it is not.
    assert tag(services.OWNER, "approval.status", "approved")[0] == 200
    assert tag("ada", "approval.status", "approved")[0] == 400
    assert tag("ada", "approval.status", "rejected")[0] == 400
    assert approval() == stamped
    assert tag("ada", "approval.reason", "Hurts part-time staff.")[0] == 200
    assert approval() == {**before, "approval.reason": "Hurts part-time staff."}
    assert tag("ada", "approval.status", "rejected")[0] == 200
    assert approval()["approval.by"] == "ada"
    for user in (services.OWNER, "ada"):
        assert tag(user, "approval.status", "approved")[0] == 400
        assert tag(user, "approval.reason", "Fine after all.")[0] == 400
    assert approval()["approval.status"] == "rejected"

    # Other tags are theirs.
    assert tag(services.OWNER, "note", "Ask Grace.")[0] == 200
    note = {"name": small_case.name, "version": "1", "key": "note"}
    assert send("ada", "DELETE", "model-versions/delete-tag", note)[0] == 200
    assert "note" not in registry.version(small_case.name, 1).tags


def test_a_version_in_charge_is_rolled_back_not_judged_anew(
    version, registry, small_case, owner, send, as_of
):
    release.approve(owner, small_case, version, "Measured well.")
    registry.set_alias(small_case.name, "champion", version)
    stamped = registry.version(small_case.name, version).tags
    body = {"name": small_case.name, "version": "1", "key": "approval.reason", "value": "Not so good."}
    status, message = send(services.OWNER, "POST", "model-versions/set-tag", body)
    assert (status, "roll it back" in message) == (400, True)
    assert registry.version(small_case.name, version).tags == stamped


# --- the store, as several workers of a server have it ---------------------------------------------------


@pytest.fixture
def workers(server, mlflow_settings, monkeypatch, tmp_path):
    """Two stores on the server's database, and a way to call one as a user."""
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_USERNAME", services.SERVICE_ACCOUNT)
    uri = PREFIX + server.url("mlflow").render_as_string(hide_password=False)
    stores = [open_store(uri), open_store(uri)]
    app = flask.Flask("tests", root_path=str(tmp_path))

    def tag(number, user, key, value, name="small_case"):
        with app.app_context():
            flask.g.mlflow_authenticated_user = user
            stores[number % 2].set_model_version_tag(name, "1", ModelVersionTag(key, value))

    yield tag, stores, app
    stores[0]._dispose_engine()


def test_of_many_at_once_one_judges(version, registry, small_case, workers):
    tag, *_ = workers
    tag(0, "ada", "approval.reason", "Measured well.")
    tries = [("ada", "approved"), ("grace", "rejected"), (services.SERVICE_ACCOUNT, "timed_out")] * 4
    won, refused, together = [], [], threading.Barrier(len(tries))

    def run(number, user, status):
        together.wait()
        try:
            tag(number, user, "approval.status", status)
            won.append((user, status))
        except MlflowException as error:
            refused.append(error.error_code)

    threads = [threading.Thread(target=run, args=(n, *who)) for n, who in enumerate(tries)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((user, status),) = set(won)
    assert refused == ["INVALID_PARAMETER_VALUE"] * 8
    tags = registry.version(small_case.name, 1).tags
    assert tags["approval.status"] == status
    assert tags.get("approval.by", services.SERVICE_ACCOUNT) == user


def test_a_judgement_is_whole_or_not_there(version, registry, small_case, workers):
    tag, (store, _), _ = workers
    tag(0, "ada", "approval.reason", "Measured well.")
    before = registry.version(small_case.name, 1).tags
    killed = 0
    while killed < 9:
        left = killed

        def fail(_connection, _cursor, statement, *_):
            nonlocal left
            if statement.startswith(("INSERT", "UPDATE", "DELETE")):
                if left == 0:
                    raise RuntimeError("the worker dies")
                left -= 1

        event.listen(store.engine, "before_cursor_execute", fail)
        try:
            tag(0, "ada", "approval.status", "approved")
            break
        except MlflowException:
            assert registry.version(small_case.name, 1).tags == before
            killed += 1
        finally:
            event.remove(store.engine, "before_cursor_execute", fail)
    assert killed >= 2, "a status and its stamps are at least two writes"
    assert registry.version(small_case.name, 1).tags["approval.by"] == "ada"


def test_nobody_logged_in_changes_nothing(workers):
    tag, (store, _), app = workers
    with pytest.raises(MlflowException, match="nobody is logged in"):
        tag(0, None, "note", "x")
    with pytest.raises(MlflowException, match="nobody is logged in"):
        store.create_registered_model("mine")
    with app.app_context(), pytest.raises(MlflowException, match="nobody is logged in"):
        store.set_registered_model_alias("small_case", "champion", "1")


def test_without_an_administrator_s_name_there_is_no_store(workers, monkeypatch):
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_USERNAME")
    with pytest.raises(KeyError):
        ApprovalStore("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    assert "MLFLOW_AUTH_ADMIN_USERNAME" not in os.environ


def test_every_way_to_change_something_is_looked_at():
    """A newer MLflow that adds one makes this test fail: it has to be decided who may use it."""
    reads = ("get_", "search_", "list_", "_", "supports_")
    webhooks = {"create_webhook", "update_webhook", "delete_webhook"}  # an administrator's, by MLflow itself
    changes = {name for name in vars(SqlAlchemyStore) if not name.startswith(reads)}
    constants = {name for name in changes if name.isupper()}
    assert changes - webhooks - constants == {
        name for name in vars(ApprovalStore) if not name.startswith("_")
    }
