"""The outcome warehouse: dbt, a task for each model."""

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from conventions import BUILT, DEFAULT_ARGS, PASSED, START, SWEEP, given_as_of, woken_by
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import InvocationMode, LoadMode, TestBehavior
from hrloop import settings

SETTINGS = settings.load()
PROJECT = SETTINGS.project / "dbt"
MANIFEST = SETTINGS.home / "dbt" / "manifest.json"


def connect(context, operator) -> None:
    """Give dbt, at run time and through the environment only, what it needs to connect."""
    import gc
    import os

    from hrloop import transform
    from hrloop.rhythms import Loop

    transform.name_flag_sources_once()
    warehouse = Loop.open().warehouse
    os.environ.update(warehouse.environment())
    warehouse.dispose()  # what is frozen below would keep its connections for as long as the process lives
    # Cosmos collects garbage after each model, which walks all that is loaded: one to two seconds a model.
    gc.freeze()


with DAG(
    dag_id="warehouse",
    schedule=woken_by(PASSED, sweep="40 6 * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # there is one warehouse, and it stands at one as_of
    default_args=DEFAULT_ARGS,
    tags=["intake", "daily"],
    params={"as_of": SWEEP},
    doc_md="""
### The outcome warehouse
Builds staging, intermediate, outcomes, features and kpi with dbt, each model a task, then runs the data
tests. One build serves every pending `as_of`: the warehouse stands at the highest one ever asked of it, and
earlier ones are read out of its time columns. Order of a backfill and repetition change nothing.

**When** woken by `quality_gate`, and a sweep at 06:40 UTC. **Then** `decisions` and `milestones`.

**When a model fails** its task shows dbt's message and the compiled SQL (Rendered templates). Clear the task
to go on from there. See `docs/runbooks/dag-failed.md`.
""",
) as dag:

    @task.short_circuit
    def which_as_of(**context) -> dict:
        """The as_ofs to build for and the variables that dbt needs; empty, the rest is skipped."""
        from hrloop.rhythms import Loop, due, intake

        loop = Loop.open()
        as_ofs = due(loop, "warehouse", "gate", given_as_of(context))
        return intake.plan_build(loop, as_ofs) if as_ofs else {}

    @task(outlets=[BUILT])
    def mark_done(plan: dict, **context) -> dict:
        """Put on record for which as_ofs the warehouse now stands."""
        from hrloop.rhythms import Loop, intake

        summary = intake.record_build(Loop.open(), plan)
        context["outlet_events"][BUILT].extra = {"as_of": summary["as_ofs"]}
        return summary

    plan = which_as_of()
    if MANIFEST.exists():
        models = DbtTaskGroup(
            group_id="dbt",
            project_config=ProjectConfig(
                dbt_project_path=PROJECT, manifest_path=MANIFEST, install_dbt_deps=False
            ),
            profile_config=ProfileConfig(
                profile_name="hrloop", target_name="default", profiles_yml_filepath=PROJECT / "profiles.yml"
            ),
            render_config=RenderConfig(
                load_method=LoadMode.DBT_MANIFEST, test_behavior=TestBehavior.AFTER_ALL, emit_datasets=False
            ),
            execution_config=ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER),
            operator_args={
                "vars": "{{ ti.xcom_pull(task_ids='which_as_of')['variables'] | tojson }}",
                "interceptors": [connect],
                "emit_datasets": False,
                # Nobody reads what dbt would write of the whole project after each model.
                "dbt_cmd_global_flags": ["--no-write-json"],
            },
            default_args=DEFAULT_ARGS,
        )
    else:

        @task(retries=0)
        def dbt_is_not_parsed() -> None:
            """Stands where the models would be."""
            raise AirflowFailException(
                f"{MANIFEST} is missing, so Airflow does not know the dbt models. Run `make setup`"
                " (or `hrloop setup`), which parses the dbt project; the models then appear here."
            )

        models = dbt_is_not_parsed()
    plan >> models >> mark_done(plan)
