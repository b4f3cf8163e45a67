"""The quality gate: what may go into the warehouse."""

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from conventions import DEFAULT_ARGS, PASSED, RAW, START, SWEEP, given_as_of, woken_by

with DAG(
    dag_id="quality_gate",
    schedule=woken_by(RAW, sweep="20 6 * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # a batch is judged once
    default_args=DEFAULT_ARGS,
    tags=["intake", "daily"],
    params={"as_of": SWEEP},
    doc_md="""
### The quality gate
Judges every batch that was taken and not judged yet, for each pending `as_of`, oldest first: keys, ranges,
taxonomy, completeness of critical fields (over the batch and per group), freshness. Rows that break a hard
rule go to `quarantine`. Expectations: `expectations/<system>/<table>.yaml`; findings: `loop.gate_results`.

**When** woken by `ingest`, and a sweep at 06:20 UTC. **Then** `warehouse`, for the as_ofs that passed.

**When it fails** the task `verdict` says table, batch, field, group and figure, and nothing behind the gate
runs for that as_of. It is not retried: the data must change. See `docs/runbooks/gate-failed.md`.
""",
) as dag:

    @task(outlets=[PASSED])
    def judge(**context) -> dict:
        """Judge each pending as_of and put the verdicts on record."""
        from hrloop.rhythms import Loop, due, intake

        loop = Loop.open()
        verdicts = intake.gate_all(loop, due(loop, "gate", "ingest", given_as_of(context)))
        context["outlet_events"][PASSED].extra = {"as_of": verdicts["passed"]}
        return verdicts

    @task(retries=0)
    def verdict(verdicts: dict) -> None:
        """Fail when an as_of did not pass, with the findings."""
        if verdicts["failed"]:
            raise AirflowFailException("\n\n".join(verdicts["failed"]))

    verdict(judge())
