"""The release watch: approved versions come into charge, and one that harms goes out of it again."""

from airflow.sdk import DAG, CronTriggerTimetable, task, task_group
from conventions import DEFAULT_ARGS, NEWEST, START, newest_as_of, release, use_case_param, use_cases

with DAG(
    dag_id="release_watch",
    schedule=CronTriggerTimetable("45 7 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["daily", "releasing", "use-case"],
    params={"as_of": NEWEST, "use_case": use_case_param()},
    doc_md="""
### Release watch
For each use case: from a release until four weeks after its first round, looks at harm on labels that
matured since, at how often people overrule, at how many cases need a person, at selection by protected
group, and at whether the model can be read at all. One broken guardrail puts the previous champion back at
once, without waiting for anyone. Then it puts in charge what an owner approved meanwhile.

**When** daily at 07:45 UTC, on the newest as_of of the warehouse. **Then** a roll-back is in the ledger with
its reason (`hrloop releases`), and the next round is decided by the previous champion.
""",
) as dag:

    @task
    def watch(use_case: str, **context) -> dict:
        """Look at the newest release of one use case."""
        from hrloop.rhythms import watch as rhythm

        loop, as_of = newest_as_of(context, rhythm.STEP, use_case)
        return rhythm.watch(loop, use_case, as_of)

    @task_group
    def model(use_case: str) -> None:
        """One use case, independent of the others."""
        watch(use_case) >> release(use_case)

    model.expand(use_case=use_cases())
