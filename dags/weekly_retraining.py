"""Weekly retraining: newest labels, the champion's architecture, a new version and its evidence."""

from airflow.sdk import DAG, CronTriggerTimetable, task, task_group
from conventions import (
    DEFAULT_ARGS,
    NEWEST,
    START,
    newest_as_of,
    release,
    use_case_param,
    use_cases,
    wait_param,
)
from hrloop_approval import WaitForApproval

with DAG(
    dag_id="weekly_retraining",
    schedule=CronTriggerTimetable("0 8 * * 1", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=8,  # a run may wait four weeks for its owner while the next ones train
    default_args=DEFAULT_ARGS,
    tags=["learning", "releasing", "use-case", "weekly"],
    params={"as_of": NEWEST, "use_case": use_case_param(), "wait": wait_param()},
    doc_md="""
### Weekly retraining
For each use case: takes the labels known by `as_of`, refuses features that leak, fits the champion's
architecture anew, calibrates, and compares the version with the champion, paired, on matured decisions that
neither was fitted on (with the base rate, where there is no champion yet). If it convinces it is proposed in
the MLflow registry with its evidence; if not, the ledger says why.

**When** Mondays at 08:00 UTC, on the newest as_of of the warehouse. **Then** the run waits, without taking
up a worker, until the model owner approves or rejects in MLflow (docs/runbooks/approve-a-version.md), and
`release` puts an approved version in charge. Nothing is promoted that a person has not approved.
""",
) as dag:

    @task
    def train(use_case: str, **context) -> dict:
        """Train a version of one use case, and propose it if it convinces."""
        from hrloop.rhythms import retraining

        loop, as_of = newest_as_of(context, retraining.STEP, use_case)
        return retraining.retrain(loop, use_case, as_of)

    @task_group
    def model(use_case: str) -> None:
        """One use case, independent of the others."""
        wait = WaitForApproval(
            task_id="wait_for_approval",
            use_case=use_case,
            trigger_rule="none_failed",
            doc_md="Waits until the owner has judged what was proposed.",
        )
        train(use_case) >> wait >> release(use_case)

    model.expand(use_case=use_cases())
