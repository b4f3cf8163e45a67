"""Milestones: which outcomes came due, and how complete the feedback is."""

from airflow.sdk import DAG, task
from conventions import BUILT, DEFAULT_ARGS, START, SWEEP, given_as_of, use_case_param, use_cases, woken_by

with DAG(
    dag_id="milestones",
    schedule=woken_by(BUILT, sweep="10 7 * * *"),
    start_date=START,
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["reporting", "use-case", "daily"],
    params={"as_of": SWEEP, "use_case": use_case_param()},
    doc_md="""
### Milestones
For each use case, each pending `as_of` and each milestone (3, 6, 12, 24 months): how many outcomes came due
lately, and how many are observed, missing (due, and nobody reported), pending and censored, as known then.
Figures are in `loop.steps` (step `milestones`), and on the page Browse > HR loop.

**When** woken by `warehouse`, and a sweep at 07:10 UTC. Reads only.
""",
) as dag:

    @task(map_index_template="{{ use_case }}")
    def report(use_case: str, **context) -> list[dict]:
        """Count the outcomes of one use case at each pending as_of."""
        from hrloop.rhythms import Loop, due, milestones

        loop = Loop.open()
        as_ofs = due(loop, "milestones", "warehouse", given_as_of(context), use_case)
        return [milestones.report(loop, use_case, as_of) for as_of in as_ofs]

    report.expand(use_case=use_cases())
