"""Run the DAGs in this process, one after another, with Airflow's own ``dag.test()``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from hrloop import as_of as moments
from hrloop import services
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse


class Dags:
    """The DAGs of ``dags/``, with Airflow's metadata in Postgres; their logs go to one file."""

    def __init__(self, settings: Settings, warehouse: Warehouse):
        services.migrate_airflow(settings, warehouse)
        # Airflow reads its configuration once, when it is imported.
        os.environ.update(services.airflow_environment(settings, warehouse))
        self.log = settings.home / "logs" / "demo.log"
        with _output_to(self.log):
            from airflow.dag_processing.dagbag import BundleDagBag

            folder = settings.project / "dags"
            bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
        if bag.import_errors:
            raise RuntimeError("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
        self._dags = bag.dags

    def run(self, dag_id: str, as_of: datetime) -> bool:
        """Run one DAG for one as_of to its end, waiting for nobody. True when it succeeded."""
        dag = self._dags[dag_id]
        conf = {"as_of": moments.text(as_of)} | ({"wait": False} if "wait" in dag.params else {})
        with _output_to(self.log):
            run = dag.test(logical_date=None, run_conf=conf)
        return str(run.state) == "success"

    def close(self) -> None:
        """Close Airflow's connections to its database, which may be stopped after that."""
        from airflow.settings import dispose_orm

        dispose_orm()


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send all that this process prints, also from its children, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in kept:
            os.close(descriptor)
