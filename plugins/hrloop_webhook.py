"""The endpoint by which MLflow tells Airflow of an approval, so that it need not wait to be asked.

It is there where ``HRLOOP_APPROVAL_WEBHOOK`` is on. Airflow puts no login before it: MLflow's signature, over
a secret that the two share, is the guard. A delivery only wakes up: all that is taken from it is which model
it is about, and whether it tells of an approval at all. What was approved, and by whom, is read in MLflow by
the run that it starts, as by a run of the clock, which also makes good a delivery that was lost.
"""

import base64
import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ValidationError

PREFIX, PATH = "/hr-webhook", "/approvals"  # together services.WEBHOOK_PATH
RELEASES = "release_watch"  # the DAG that puts in charge what was approved
# As in the libraries of Standard Webhooks, whose scheme MLflow follows. MLflow tries a delivery four times,
# within three minutes, with the timestamp of the first.
TOLERANCE = timedelta(minutes=5)
LARGEST = 65_536  # bytes of a body; the value of a tag has 5,000 characters at the most

log = logging.getLogger(__name__)
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@dataclass(frozen=True)
class Delivery:
    """A request as it came: what MLflow says in its three headers, and the body."""

    identity: str
    timestamp: str
    signature: str
    body: bytes


class Tag(BaseModel):
    """A tag that was set on a version of a model."""

    name: str
    key: str
    value: str


class Event(BaseModel):
    """The part that is read of an event ``model_version_tag.set``."""

    data: Tag


def signature(secret: str, identity: str, timestamp: str, body: bytes) -> str:
    """``v1,`` and base64 of HMAC-SHA-256 over ``{identity}.{timestamp}.{body}``, as MLflow 3 signs."""
    digest = hmac.digest(secret.encode(), f"{identity}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def objection(secret: str, delivery: Delivery, now: datetime) -> str | None:
    """Why a delivery is not believed; None for one that is signed with the secret, and new."""
    expected = signature(secret, delivery.identity, delivery.timestamp, delivery.body)
    if not hmac.compare_digest(expected.encode(), delivery.signature.encode()):
        return "X-MLflow-Signature is missing, or was not made of this delivery with the secret of both"
    if not delivery.timestamp.isdecimal():
        return "X-MLflow-Timestamp is not a number of seconds"
    if abs(now.timestamp() - int(delivery.timestamp)) > TOLERANCE.total_seconds():
        return f"X-MLflow-Timestamp is not within {TOLERANCE} of now: sent again, or the clocks differ"
    return None


async def delivered(request: Request) -> Delivery:
    """The request, of which no more is read than a delivery can have."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {LARGEST} bytes")
    names = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")
    return Delivery(*(request.headers.get(name, "") for name in names), body)


@app.post(PATH)
def approvals(delivery: Annotated[Delivery, Depends(delivered)]) -> dict[str, str | None]:
    """Start the DAG that releases, for the use case of which a version was approved; other tags wake nobody.

    401 for what MLflow did not send just now, 400 for what is no event, 404 for a model of no use case. In a
    worker thread, as FastAPI runs plain functions: files are read and the database is asked.
    """
    from hrloop.rhythms import Loop

    loop = Loop.open()
    why = objection(loop.settings.secret("mlflow_webhook"), delivery, datetime.now(UTC))
    if why:
        log.warning("A delivery is refused: %s.", why)
        raise HTTPException(HTTPStatus.UNAUTHORIZED, why)
    try:
        tag = Event.model_validate_json(delivery.body).data
    except ValidationError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is no event model_version_tag.set") from error
    if (tag.key, tag.value) != ("approval.status", "approved"):
        return {"run_id": None}
    known = loop.use_cases()
    if tag.name not in known:
        why = f"there is no use case {tag.name!r} in models/; there are {', '.join(known)}"
        raise HTTPException(HTTPStatus.NOT_FOUND, why)
    return {"run_id": wake(tag.name, delivery.identity)}


def wake(use_case: str, identity: str) -> str:
    """Start the DAG that releases for one use case, and return the run's id: one run for a delivery.

    503 while Airflow has not read its DAGs yet; MLflow then tries again.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.utils.types import DagRunTriggeredByType

    run_id = f"approval__{identity}"
    try:
        trigger_dag(
            RELEASES,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name="MLflow",
            run_id=run_id,
            conf={"use_case": use_case},
            note=f"A version of {use_case} was approved in MLflow.",
        )
    except DagRunAlreadyExists:
        return run_id
    except DagNotFound as error:
        why = f"Airflow has not read the DAG {RELEASES} yet: try again in a minute"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, why) from error
    log.info("%s: woken by an approval, %s.", use_case, run_id)
    return run_id
