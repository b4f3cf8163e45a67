"""A task that waits for the model owner's judgement in MLflow without taking up a worker.

The wait is the triggerer's: it asks the registry every so often (``approval_poll_seconds``). It ends when
nothing waits for a judgement any more, or when the declared days are over; the daily reconcile then records
the time-out.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent


def waiting(use_case: str) -> list[int]:
    """Versions of a use case that wait for their owner."""
    from hrloop.rhythms import Loop

    return Loop.open().registry.requested(use_case)


class ApprovalTrigger(BaseTrigger):
    """Fires when no version of the use case waits for its owner any more. ``poll``: seconds."""

    def __init__(self, use_case: str, poll: float):
        super().__init__()
        self.use_case, self.poll = use_case, poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger anew."""
        return "hrloop_approval.ApprovalTrigger", {"use_case": self.use_case, "poll": self.poll}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the owner has judged; the registry's client blocks, so it runs in a thread."""
        while await asyncio.to_thread(waiting, self.use_case):
            await asyncio.sleep(self.poll)
        yield TriggerEvent({"use_case": self.use_case})


class WaitForApproval(BaseOperator):
    """Waits until the owner has judged what was proposed for a use case; at once when nothing waits.

    The run's parameter ``wait`` switches it off.
    """

    template_fields = ("use_case",)

    def __init__(self, *, use_case: str, **task: Any):
        super().__init__(**task)
        self.use_case = use_case

    def execute(self, context: Any) -> None:
        """Hand the wait to the triggerer. Raises TaskDeferred, which is how Airflow does it."""
        from hrloop.rhythms import Loop

        if context["params"]["wait"] and waiting(self.use_case):
            loop = Loop.open()
            days = loop.use_case(self.use_case).promotion.approval_days.value
            self.defer(
                trigger=ApprovalTrigger(self.use_case, loop.settings.approval_poll_seconds),
                method_name="judged",
                timeout=timedelta(days=days),
            )

    def judged(self, context: Any, event: dict[str, Any]) -> None:
        """The owner has judged: go on."""
        self.log.info("%s: no version waits for its owner any more.", event["use_case"])
