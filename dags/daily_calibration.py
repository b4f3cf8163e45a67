"""Daily calibration: the map from score to probability, by the newest labels."""

from airflow.sdk import DAG, CronTriggerTimetable, task
from conventions import DEFAULT_ARGS, NEWEST, START, newest_as_of, use_case_param, use_cases

with DAG(
    dag_id="daily_calibration",
    schedule=CronTriggerTimetable("30 7 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["daily", "learning", "releasing", "use-case"],
    params={"as_of": NEWEST, "use_case": use_case_param()},
    doc_md="""
### Daily calibration
For each use case: chooses a calibrator on past labels (which kind, and how far back it remembers) and puts
it live when it beats today's on the newest matured labels. It comes off again by itself when the one before
it does better on labels that became known since. Only the map from score to probability changes; ranks stay.

**When** daily at 07:30 UTC, on the newest as_of of the warehouse. **Then** the next round of decisions uses
it. Every change is in the ledger (`hrloop releases`) with its evidence and a change note.
""",
) as dag:

    @task(map_index_template="{{ use_case }}")
    def calibrate(use_case: str, **context) -> dict:
        """Calibrate the champion of one use case."""
        from hrloop.rhythms import calibration

        loop, as_of = newest_as_of(context, calibration.STEP, use_case)
        return calibration.calibrate(loop, use_case, as_of)

    calibrate.expand(use_case=use_cases())
