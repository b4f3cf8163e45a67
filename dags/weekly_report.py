"""The weekly report: what changed and what the rhythms found, for HR."""

from airflow.sdk import DAG, CronTriggerTimetable, task
from conventions import DEFAULT_ARGS, START, as_of_param, scheduled_as_of

with DAG(
    dag_id="weekly_report",
    schedule=CronTriggerTimetable("0 12 * * 1", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["reporting", "weekly"],
    params={"as_of": as_of_param("the time of the schedule; a run by hand must give one.")},
    doc_md="""
### Weekly report
For every use case: the change notes of the seven days before `as_of`, in English and Swedish, and the verdict
of each rhythm with its reasons. It reads, and changes nothing but its own file; `hrloop report week` writes
the same one.

**When** Mondays at 12:00 UTC, after the week's retraining. **Then** it lies in `reports/week-<date>.html` of
the installation's folder (`HRLOOP_HOME`), to be opened in a browser or sent on; the task's log says where.
""",
) as dag:

    @task
    def write(**context) -> str:
        """Write the week's report, and say where it is."""
        from hrloop.rhythms import Loop, reports

        return str(reports.weekly(Loop.open(), scheduled_as_of(context)))

    write()
