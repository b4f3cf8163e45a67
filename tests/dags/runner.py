"""A process that runs DAGs with ``dag.test()`` on request, so that a test can kill one half-way.

Reads one JSON object a line from standard input ({"dag": id, "conf": {…}, "env": {…}}), writes one a line to
standard output ({"state": …, "tasks": {…}, "seconds": …}); what Airflow prints goes to standard error.
"""

import json
import os
import sys
import time

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402 - after standard output is put aside

folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")


def answer(**content) -> None:
    print(json.dumps(content), file=answers, flush=True)


answer(dags=sorted(bag.dags), import_errors=bag.import_errors)
for line in sys.stdin:
    request = json.loads(line)
    os.environ.update(request["env"])
    began = time.monotonic()
    dag = bag.dags[request["dag"]]
    # Airflow writes a run's parameters into the DAG, which here, unlike in a task's process, lives on.
    defaults = dict.fromkeys(dag.params) | ({"wait": False} if "wait" in dag.params else {})
    run = dag.test(run_conf=defaults | request["conf"])
    answer(
        state=run.state,
        tasks={
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state
            for ti in run.get_task_instances()
        },
        seconds=round(time.monotonic() - began, 2),
    )
