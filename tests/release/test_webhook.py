"""An approval that MLflow tells of at once: what is signed and new wakes the loop, and nothing else does."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import hrloop_webhook
import pytest
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hrloop import release, services
from hrloop.release import Finding
from hrloop.rhythms import Loop
from hrloop.services import ServiceError
from hrloop.settings import Settings
from hrloop_webhook import LARGEST, TOLERANCE, Delivery, objection, signature
from hypothesis import given
from hypothesis import strategies as st
from mlflow.webhooks.delivery import _generate_hmac_signature

NOW = datetime(2026, 10, 2, 8, 30, 15, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8"))


# --- the signature ---------------------------------------------------------------------------------------


def test_the_signature_is_what_openssl_makes():
    """printf '{"a": "å"}' after 'd1.1700000000.', into `openssl dgst -sha256 -hmac 'a secret' -binary`."""
    made = signature("a secret", "d1", "1700000000", '{"a": "å"}'.encode())
    assert made == "v1,Yq7XFqjYjRU+whZYte7wr1oKpFYFDDP7JUFSV9XNddw="


@given(st.text(st.characters(codec="utf-8"), min_size=1), TEXT, TEXT, TEXT)
def test_the_signature_is_mlflows(secret, identity, timestamp, body):
    expected = _generate_hmac_signature(secret, identity, timestamp, body)
    assert signature(secret, identity, timestamp, body.encode()) == expected


def signed(body: bytes = b"{}", at: datetime = NOW, key: str = "ours", identity: str = "d1") -> Delivery:
    timestamp = str(int(at.timestamp()))
    return Delivery(identity, timestamp, signature(key, identity, timestamp, body), body)


@pytest.mark.parametrize("late", [timedelta(0), TOLERANCE, -TOLERANCE])
def test_what_is_signed_and_new_is_believed(late):
    assert objection("ours", signed(), NOW + late) is None


@pytest.mark.parametrize("late", [TOLERANCE + timedelta(seconds=1), -TOLERANCE - timedelta(seconds=1)])
def test_what_was_recorded_and_is_sent_again_is_not(late):
    assert "is not within 0:05:00 of now" in objection("ours", signed(), NOW + late)


@given(st.sampled_from(["identity", "timestamp", "signature", "body"]), st.integers(min_value=0), st.data())
def test_no_character_of_a_delivery_can_be_changed(part, at, data):
    true = signed(b'{"data": {"name": "recruitment"}}')
    value = getattr(true, part)
    whole = value.decode() if part == "body" else value
    at %= len(whole)
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != whole[at]))
    changed = whole[:at] + other + whole[at + 1 :]
    fields = vars(true) | {part: changed.encode() if part == "body" else changed}
    assert "X-MLflow-Signature" in objection("ours", Delivery(**fields), NOW)


def test_a_recorded_delivery_cut_elsewhere_is_no_newer_one():
    """The signature is over the three parts joined by dots, which tells nothing of where they end."""
    true = signed(b'{"a": 1.5}', at=NOW - timedelta(days=1))
    cut = Delivery(f"{true.identity}.{true.timestamp}", '{"a": 1', true.signature, b"5}")
    assert objection("ours", cut, NOW) == "X-MLflow-Timestamp is not a number of seconds"


# --- the endpoint ----------------------------------------------------------------------------------------


@pytest.fixture
def woken(monkeypatch) -> list[str]:
    """The use cases that were woken, instead of Airflow."""
    found: list[str] = []
    monkeypatch.setattr(hrloop_webhook, "wake", lambda name, identity: found.append(name) or identity)
    return found


@pytest.fixture
def opened(monkeypatch, tmp_path) -> Settings:
    """The endpoint's settings."""
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(Loop, "open", lambda: Loop(settings))
    return settings


@pytest.fixture
def post(opened, woken) -> Callable[..., requests.Response]:
    """Sends a body to the endpoint, by default with what MLflow would sign it with."""
    client = TestClient(hrloop_webhook.app)

    def send(body: bytes, **changed):
        given = {"at": datetime.now(UTC), "key": opened.secret("mlflow_webhook"), **changed}
        one = signed(body, **given)
        headers = {
            "X-MLflow-Delivery-Id": one.identity,
            "X-MLflow-Timestamp": one.timestamp,
            "X-MLflow-Signature": one.signature,
        }
        return client.post(hrloop_webhook.PATH, content=body, headers=headers)

    return send


def event(name: str = "recruitment", key: str = "approval.status", value: str = "approved") -> bytes:
    data = {"name": name, "version": "1", "key": key, "value": value}
    return json.dumps({"entity": "model_version_tag", "action": "set", "data": data}).encode()


def test_an_approval_wakes_its_use_case(post, woken):
    answer = post(event(), identity="d7")
    assert (answer.status_code, answer.json(), woken) == (200, {"run_id": "d7"}, ["recruitment"])


@pytest.mark.parametrize(
    "other", [{"value": "rejected"}, {"value": "requested"}, {"key": "approval.reason"}, {"key": "note"}]
)
def test_another_tag_wakes_nobody(post, woken, other):
    answer = post(event(**other))
    assert (answer.status_code, answer.json(), woken) == (200, {"run_id": None}, [])


@pytest.mark.parametrize(
    ("body", "changed", "status", "told"),
    [
        (event(), {"key": "guessed"}, 401, "X-MLflow-Signature"),
        (event(), {"at": NOW - timedelta(days=9999)}, 401, "X-MLflow-Timestamp"),
        (b"not JSON", {}, 400, "no event model_version_tag.set"),
        (b'{"data": {"name": "recruitment", "alias": "champion"}}', {}, 400, "no event"),
        (event("../recruitment"), {}, 404, "there are attrition, recruitment"),
        (event() + b" " * LARGEST, {}, 413, "more than 65536 bytes"),
    ],
)
def test_a_refusal_says_why_and_wakes_nobody(post, woken, opened, caplog, body, changed, status, told):
    caplog.set_level(logging.DEBUG)
    answer = post(body, **changed)
    assert answer.status_code == status
    assert told in answer.json()["detail"]
    assert woken == []
    secret = opened.secret("mlflow_webhook")
    assert secret not in answer.text
    assert secret not in caplog.text


def test_what_is_not_signed_is_refused_and_there_is_no_other_page(opened, woken):
    client = TestClient(hrloop_webhook.app)
    assert client.post(hrloop_webhook.PATH, content=event()).status_code == 401
    for path in ("/", "/docs", "/openapi.json", hrloop_webhook.PATH):
        assert client.get(path).status_code in (404, 405)
    assert woken == []


# --- with MLflow -----------------------------------------------------------------------------------------


@pytest.fixture
def airflow(mlflow_settings, woken, monkeypatch) -> Iterator[Settings]:
    """Settings by which MLflow finds the endpoint on a server of its own; no webhook is left."""
    monkeypatch.setattr(Loop, "open", lambda: Loop(mlflow_settings))
    site = FastAPI()
    site.mount(hrloop_webhook.PREFIX, hrloop_webhook.app)
    server = uvicorn.Server(uvicorn.Config(site, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    settings = mlflow_settings.model_copy(update={"airflow_url": f"http://{services.LOCALHOST}:{port}"})
    yield settings
    services.keep_webhook(settings.model_copy(update={"approval_webhook": False}))
    server.should_exit = True
    thread.join()


def webhooks(registry) -> list:
    with registry.client() as client:
        return list(client.list_webhooks())


@pytest.mark.slow
def test_mlflow_tells_of_an_approval_once_and_when_switched_off_no_more(
    airflow, woken, warehouse, registry, owner, small_case, fitted, decided, as_of, monkeypatch
):
    monkeypatch.setattr(Loop, "use_cases", lambda _: {small_case.name: small_case})
    for _ in range(2):
        services.keep_webhook(airflow)
    (hook,) = webhooks(registry)
    assert hook.url == f"{airflow.airflow_url}{services.WEBHOOK_PATH}"
    assert airflow.secret("mlflow_webhook") not in repr(vars(hook))

    def approved(rhythm: str) -> None:
        finding = Finding("promote", "Better.", ("It is better.",))
        frame = decided()
        version = release.propose(warehouse, registry, small_case, fitted(), finding, frame, as_of, rhythm)
        release.approve(owner, small_case, version, "It is better.")

    approved("first")
    deadline = time.monotonic() + 20
    while not woken:
        assert time.monotonic() < deadline, "MLflow told nothing"
        time.sleep(0.05)
    services.keep_webhook(airflow.model_copy(update={"approval_webhook": False}))
    assert webhooks(registry) == []
    approved("second")
    time.sleep(1.0)
    assert woken == [small_case.name]


@pytest.mark.slow
def test_a_webhook_that_does_not_arrive_is_told_when_it_is_made(airflow, monkeypatch, settings):
    monkeypatch.setattr(Loop, "open", lambda: Loop(settings.model_copy(update={"home": settings.home / "x"})))
    with pytest.raises(ServiceError, match=r"does not take what MLflow sends .*401 .*Stop both"):
        services.keep_webhook(airflow)
    elsewhere = airflow.model_copy(update={"airflow_url": "ftp://airflow"})
    with pytest.raises(ServiceError, match=r"refuses the webhook hrloop-approvals: .*scheme: 'ftp'"):
        services.keep_webhook(elsewhere)
