"""What a container of docker-compose.yaml runs.

    python deploy/container.py bootstrap            `hrloop setup` and Airflow's own tables; then ends
    python deploy/container.py accounts             MLflow's owner, viewer and webhook; then ends
    python deploy/container.py mlflow               becomes MLflow's server
    python deploy/container.py airflow-scheduler    becomes that component of Airflow (so for each)
    python deploy/container.py airflow-worker       becomes a Celery worker

Commands and environment are those of ``make up``. On top of them comes what the compose file says:
``AIRFLOW__…`` and ``MLFLOW_…`` variables of the container win, as an operator of Airflow expects.
"""

import argparse
import os
import sys
from dataclasses import replace
from urllib.parse import urlsplit

from hrloop import services
from hrloop.services import Service
from hrloop.settings import Settings, load
from hrloop.warehouse import Warehouse

WORKER = "airflow-worker"
LONG_RUNNING = ("mlflow", *services.AIRFLOW, WORKER)


def bootstrap(settings: Settings) -> None:
    """Bring the databases to this version. Safe to run at every start, and by several at once."""
    from hrloop.cli.operate import setup

    setup()
    services.migrate_airflow(settings, _known(settings))


def service(settings: Settings, name: str, host: str) -> Service:
    """The long-running service of this name, listening on ``host`` if it listens at all."""
    warehouse = _known(settings)
    if name == "mlflow":
        found = services.mlflow_service(settings, warehouse, host, urlsplit(settings.mlflow_url).port)
    elif name == WORKER:
        scheduler = services.airflow_service(settings, warehouse, "airflow-scheduler", host)
        command = (sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs")
        found = replace(scheduler, name=name, command=command)
    else:
        found = services.airflow_service(settings, warehouse, name, host)
    given = {key: value for key, value in os.environ.items() if key.startswith(("AIRFLOW__", "MLFLOW_"))}
    return replace(found, environment={**found.environment, **given})


def _known(settings: Settings) -> Warehouse:
    """The warehouse without a look at it: what only serves a page needs no administrator's password."""
    return Warehouse.at(settings.database_url.get_secret_value(), settings)


def main() -> None:
    """Do the one-shot work, or become the service. Without a variable it needs: an error naming it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=("bootstrap", "accounts", *LONG_RUNNING))
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    settings = load()
    missing = [name for name in ("DATABASE_URL", "HRLOOP_MLFLOW_URL") if not os.environ.get(name)]
    if missing:
        parser.error(f"{', '.join(missing)} must be set, as in docker-compose.yaml")
    if arguments.name == "bootstrap":
        bootstrap(settings)
    elif arguments.name == "accounts":
        services.start_mlflow(settings, _known(settings))
        services.keep_webhook(settings)
    else:
        chosen = service(settings, arguments.name, arguments.host)
        os.execve(chosen.command[0], chosen.command, dict(chosen.environment))  # noqa: S606


if __name__ == "__main__":
    main()
