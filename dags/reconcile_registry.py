"""The daily reconcile: what MLflow shows and what the ledger says agree."""

from airflow.sdk import DAG, CronTriggerTimetable, task
from conventions import DEFAULT_ARGS, NEWEST, START, newest_as_of, use_case_param, use_cases

with DAG(
    dag_id="reconcile_registry",
    schedule=CronTriggerTimetable("15 7 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["daily", "releasing", "use-case"],
    params={"as_of": NEWEST, "use_case": use_case_param()},
    doc_md="""
### Reconcile registry
For each use case: an alias that was moved by hand is put back where the ledger says, and reported; rejections
given in MLflow and requests that nobody answered in time come into the ledger; a release or a change note
that was cut short is finished.

**When** daily at 07:15 UTC. What it found is in `loop.steps` (step `reconcile_registry`), and on the page
Browse > HR loop.
""",
) as dag:

    @task(map_index_template="{{ use_case }}")
    def reconcile(use_case: str, **context) -> dict:
        """Bring registry and ledger of one use case together."""
        from hrloop.rhythms import reconcile as rhythm

        loop, as_of = newest_as_of(context, rhythm.STEP, use_case)
        return rhythm.reconcile(loop, use_case, as_of)

    reconcile.expand(use_case=use_cases())
