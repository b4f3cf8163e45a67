"""Decisions: every open case scored by the champion, explained and routed."""

from airflow.sdk import DAG, task
from conventions import BUILT, DEFAULT_ARGS, START, SWEEP, given_as_of, use_case_param, use_cases, woken_by

with DAG(
    dag_id="decisions",
    schedule=woken_by(BUILT, sweep="0 7 * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # as_ofs of a use case are decided one after another, oldest first
    default_args=DEFAULT_ARGS,
    tags=["deciding", "use-case", "daily"],
    params={"as_of": SWEEP, "use_case": use_case_param()},
    doc_md="""
### Decisions
For each use case and each pending `as_of`, oldest first: scores the open cases with the champion, ranks them
in their group, explains, and routes to a person what the model is unsure of, what an audit draws and what
lies outside of what it has seen. Decisions are in `loop.decisions`, once and for good.

**When** woken by `warehouse`, and a sweep at 07:00 UTC. **Then** people review (`hrloop review`).
A use case without a champion decides nothing: people alone do, and the as_of is done.
""",
) as dag:

    @task(map_index_template="{{ use_case }}")
    def decide(use_case: str, **context) -> list[dict]:
        """Decide the open cases of one use case at each pending as_of."""
        from hrloop.rhythms import Loop, decisions, due

        loop = Loop.open()
        as_ofs = due(loop, "decisions", "warehouse", given_as_of(context), use_case)
        return [decisions.decide(loop, use_case, as_of) for as_of in as_ofs]

    decide.expand(use_case=use_cases())
