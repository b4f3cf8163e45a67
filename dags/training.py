"""Training: newest labels, a new version, and its evidence."""

from airflow.sdk import DAG, CronTriggerTimetable, task, task_group
from airflow.sdk.exceptions import AirflowSkipException
from conventions import DEFAULT_ARGS, START, as_of_param, given_as_of, use_case_param, use_cases

with DAG(
    dag_id="training",
    schedule=CronTriggerTimetable("0 8 * * 1", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # versions are proposed one after another
    default_args=DEFAULT_ARGS,
    tags=["learning", "use-case", "weekly"],
    params={
        "as_of": as_of_param("the newest as_of that the warehouse stands at."),
        "use_case": use_case_param(),
    },
    doc_md="""
### Training
For each use case: takes the labels known by `as_of`, refuses features that leak, fits, calibrates, measures
the version on the newest labels held out against the base rate, and proposes it in the MLflow registry with
its evidence. It promotes nothing that a person has not approved.

**When** Mondays at 08:00 UTC, on the newest as_of of the warehouse. **Then** the model owner approves
(`hrloop approve`, or in MLflow), and the task `release` makes the version champion: clear it, or wait for
the next run.
""",
) as dag:

    @task
    def train(use_case: str, **context) -> dict:
        """Train and propose a version of one use case."""
        from hrloop.rhythms import Loop, training

        loop = Loop.open()
        as_of = given_as_of(context) or training.newest(
            loop, use_case, not_after=context["dag_run"].data_interval_end
        )
        if as_of is None:
            raise AirflowSkipException(f"{use_case}: trained on the newest as_of of the warehouse already.")
        return training.train(loop, use_case, as_of)

    @task(trigger_rule="none_failed")
    def release(use_case: str) -> dict:
        """Make the approved version champion, if one is."""
        from hrloop.rhythms import Loop, training

        outcome = training.release_if_approved(Loop.open(), use_case)
        if outcome is None:
            raise AirflowSkipException(f"{use_case}: no version is both proposed and approved.")
        return outcome

    @task_group
    def model(use_case: str) -> None:
        """One use case, independent of the others."""
        train(use_case) >> release(use_case)

    model.expand(use_case=use_cases())
