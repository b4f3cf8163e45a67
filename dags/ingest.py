"""Exports into raw."""

from airflow.sdk import DAG, CronTriggerTimetable, task
from conventions import DEFAULT_ARGS, RAW, START, as_of_param, scheduled_as_of

with DAG(
    dag_id="ingest",
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["intake", "daily"],
    params={"as_of": as_of_param("the time of the schedule; a run by hand must give one.")},
    doc_md="""
### Exports into raw
Takes each file that arrived in `landing/<system>/<table>/` by `as_of` and was not taken before: once, whole
or not at all, corrections by key. A file that breaks the source contract is refused with its reason in
`loop.batches`, stays where it is, and holds up no other.

**When** daily at 06:00 UTC; `as_of` is the time of the schedule. **Then** `quality_gate`.
**By hand** give `as_of`. Running one twice changes nothing. **Backfill** in any order, several at once.
""",
) as dag:

    @task(outlets=[RAW])
    def take_files(**context) -> dict:
        """Load what arrived by as_of."""
        from hrloop import as_of
        from hrloop.rhythms import Loop, intake

        moment = scheduled_as_of(context)
        summary = intake.ingest(Loop.open(), moment)
        context["outlet_events"][RAW].extra = {"as_of": as_of.text(moment)}
        return summary

    take_files()
