"""Monthly reweighting: how strongly each feature may be used."""

from airflow.sdk import DAG, CronTriggerTimetable, task
from conventions import DEFAULT_ARGS, NEWEST, START, newest_as_of, use_case_param, use_cases

with DAG(
    dag_id="monthly_reweighting",
    schedule=CronTriggerTimetable("0 9 1 * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["learning", "monthly", "use-case"],
    params={"as_of": NEWEST, "use_case": use_case_param()},
    doc_md="""
### Monthly reweighting
For each use case: measures what each feature has been worth on matured decisions, how far it has drifted,
and which reason codes reviewers give more often than chance explains, overall or in some context. From this
come weights, and the champion's architecture is fitted under them. The version is compared and approved as a
weekly one is; the reasons for its weights stand with its evidence.

**When** on the first of a month at 09:00 UTC, on the newest as_of of the warehouse. **Then** the owner
approves or rejects in MLflow; the next run of `weekly_retraining` or `release_watch` puts it in charge.
""",
) as dag:

    @task(map_index_template="{{ use_case }}")
    def reweight(use_case: str, **context) -> dict:
        """Weigh the features of one use case, and propose the version if it convinces."""
        from hrloop.rhythms import reweighting

        loop, as_of = newest_as_of(context, reweighting.STEP, use_case)
        return reweighting.reweight(loop, use_case, as_of)

    reweight.expand(use_case=use_cases())
