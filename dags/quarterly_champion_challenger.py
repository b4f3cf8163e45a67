"""Quarterly champion-challenger: another architecture is tried live against the one in charge."""

from airflow.sdk import DAG, CronTriggerTimetable, task, task_group
from airflow.sdk.exceptions import AirflowSkipException
from conventions import DEFAULT_ARGS, NEWEST, START, newest_as_of, use_case_param, use_cases

with DAG(
    dag_id="quarterly_champion_challenger",
    schedule=CronTriggerTimetable("30 9 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["daily", "learning", "quarterly", "use-case"],
    params={"as_of": NEWEST, "use_case": use_case_param()},
    doc_md="""
### Quarterly champion-challenger
For each use case, on the first as_of of a quarter: searches over architectures (boosted trees of several
growth policies, a linear model), fits the winner, and lets it decide the declared share of the groups; both
versions score every case. On every later day it looks for harm, at the arms as they were drawn and at the
reviews, and on the registered days (14, 21 and 28) at the paired comparison on labels that matured since.

**When** daily at 09:30 UTC, on the newest as_of of the warehouse. **Then** a verdict ends the experiment; a
challenger that came through it is proposed to its owner, in MLflow, with the report
(`hrloop report experiment`).
""",
) as dag:

    @task
    def look(use_case: str, **context) -> dict:
        """Look at the experiment that runs."""
        from hrloop.rhythms import experiments

        loop, as_of = newest_as_of(context, experiments.LOOK, use_case)
        return experiments.look(loop, use_case, as_of)

    @task(trigger_rule="none_failed")
    def start(use_case: str, **context) -> dict:
        """Search, and begin an experiment, once a quarter."""
        from hrloop.rhythms import experiments

        loop, as_of = newest_as_of(context, experiments.STEP, use_case)
        if not experiments.is_due(loop, use_case, as_of):
            raise AirflowSkipException(f"{use_case}: this quarter's search has been made.")
        return experiments.start(loop, use_case, as_of)

    @task_group
    def experiment(use_case: str) -> None:
        """One use case, independent of the others."""
        look(use_case) >> start(use_case)

    experiment.expand(use_case=use_cases())
