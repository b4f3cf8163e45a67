"""What every DAG here has in common: owner, tags, retries, the ``as_of`` parameter and the assets.

Nothing is computed here: steps live in ``hrloop.rhythms``, and what is left to do in its ledger.
"""

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

OWNER = "people-analytics"
START = datetime(2023, 1, 1, tzinfo=UTC)  # backfills may go back so far
TAGS = {
    "intake": "exports to warehouse, for all use cases",
    "use-case": "one independent branch for each use case",
    "daily": "a timed run or sweep each day",
    "weekly": "a timed run each week",
    "monthly": "a timed run each month",
    "quarterly": "begins once a quarter",
    "learning": "trains models",
    "deciding": "writes decisions about people",
    "releasing": "may change what decides",
    "reporting": "writes figures only",
}

# An event on an asset wakes its consumer up, no more: events can be lost (a run that is being queued closes
# its window) and can come in any order. What is to do, the consumer reads in the ledger loop.steps.
RAW = Asset(name="raw", uri="hrloop://warehouse/raw")
PASSED = Asset(name="passed", uri="hrloop://warehouse/passed")
BUILT = Asset(name="outcomes", uri="hrloop://warehouse/outcomes")

log = logging.getLogger(__name__)


def say_what_to_do(context) -> None:
    """On a task's last failure: where to look and how to go on, as the last lines of its log."""
    run = context["dag_run"]
    log.error(
        "%s.%s gave up in run %s: %s\nWhat is done and what is not: `hrloop status`, or Browse > HR loop."
        " What to do: docs/runbooks/dag-failed.md. Running it again is always safe.",
        context["dag"].dag_id,
        context["task"].task_id,
        run.run_id,
        context.get("exception"),
    )


DEFAULT_ARGS = {
    "owner": OWNER,
    # What a refusal needs is other data or another declaration, not another try. Every other error is taken
    # for trouble that passes: a database that restarts is back within minutes (15 s, 30 s, 60 s, 120 s).
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(exception=OSError),  # first: a garbled answer of a server is a ValueError as well
            RetryRule(exception=ValueError, action=RetryAction.FAIL, reason="refused; see the message above"),
        ]
    ),
    "retries": 4,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": say_what_to_do,
}


def as_of_param(when_empty: str) -> Param:
    """The parameter of every DAG; ``when_empty`` says what a run without it does."""
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="as_of",
        description=(
            "The moment as of which the run sees the world, in UTC, such as 2026-10-01T06:00:00Z."
            f" Empty: {when_empty}"
        ),
    )


def use_case_param() -> Param:
    """The parameter of the DAGs that run once for each use case."""
    return Param(
        None,
        type=["null", "string"],
        title="use case",
        description="Name of one folder of models/, to run that one alone. Empty: all.",
    )


def wait_param() -> Param:
    """Whether a run waits for the owner's judgement."""
    return Param(
        True,
        type="boolean",
        title="wait",
        description="Wait until the model owner has approved or rejected. Off: go on with what is approved.",
    )


NEWEST = as_of_param("the newest as_of that the warehouse stands at; skipped where it is done already.")
SWEEP = as_of_param("every as_of that the step before has done and this one has not, oldest first.")


def woken_by(asset: Asset, sweep: str) -> AssetOrTimeSchedule:
    """On each event of the asset, and at the times of the cron expression ``sweep`` (UTC) besides."""
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(sweep, timezone="UTC"), assets=asset)


def given_as_of(context) -> datetime | None:
    """The as_of that the run was asked for: by its parameter, or by its date in a backfill; else None."""
    from hrloop import as_of

    if context["params"]["as_of"]:
        return as_of.parse(context["params"]["as_of"])
    run = context["dag_run"]
    return as_of.utc(run.data_interval_end) if run.run_type == "backfill" else None


def scheduled_as_of(context) -> datetime:
    """The as_of of a DAG that the clock starts: as given, else the end of its data interval."""
    from hrloop import as_of

    run = context["dag_run"]
    given = given_as_of(context)
    if given is None and run.run_type == "scheduled":
        given = as_of.utc(run.data_interval_end)
    if given is None:
        raise AirflowFailException(
            "A run by hand needs the parameter as_of, such as 2026-10-01T06:00:00Z: what it takes must not"
            " depend on when the button was pressed."
        )
    return given


def newest_as_of(context, step: str, use_case: str):
    """The loop, and the as_of that the run was asked for, else the newest one of the warehouse.

    Skips the task when the step is done for that one already, or nothing was built yet.
    """
    from hrloop.rhythms import Loop, newest

    loop = Loop.open()
    as_of = given_as_of(context) or newest(
        loop, step, use_case, not_after=context["dag_run"].data_interval_end
    )
    if as_of is None:
        raise AirflowSkipException(
            f"{use_case}: {step} is done for the newest as_of of the warehouse already."
        )
    return loop, as_of


@task
def use_cases(**context) -> list[str]:
    """The use cases to run for: the one asked for, else all that are declared in models/."""
    from hrloop.rhythms import Loop

    declared = Loop.open().use_cases()
    asked = context["params"]["use_case"]
    if asked and asked not in declared:
        raise AirflowFailException(
            f"There is no use case {asked!r} in models/; there are {', '.join(declared)}."
        )
    return [asked] if asked else list(declared)


@task(trigger_rule="none_failed")
def release(use_case: str) -> dict:
    """Make the version that its owner approved champion, if one is."""
    from hrloop.rhythms import Loop, retraining

    outcome = retraining.release_if_approved(Loop.open(), use_case)
    if outcome is None:
        raise AirflowSkipException(f"{use_case}: no version is both proposed and approved.")
    return outcome
