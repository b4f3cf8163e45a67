"""Postgres: the embedded server, connections by role, bulk reads and writes, and the ``loop`` tables."""

from hrloop.settings import Settings
from hrloop.warehouse.bootstrap import bootstrap
from hrloop.warehouse.connections import Warehouse
from hrloop.warehouse.scratch import scratch
from hrloop.warehouse.server import EmbeddedServer, ServerError

__all__ = ["EmbeddedServer", "ServerError", "Warehouse", "open_warehouse", "scratch"]


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of these settings, ready for use: started, bootstrapped and migrated where needed.

    Uses ``DATABASE_URL`` where it is set, else the embedded server. Raises ServerError when that one
    does not start, and SQLAlchemy's OperationalError when the given one cannot be reached.
    """
    if settings.database_url:
        admin_url = settings.database_url.get_secret_value()
    else:
        server = EmbeddedServer.of(settings)
        admin_url = f"postgresql://postgres:{server.password}@127.0.0.1:{server.start()}/postgres"
    warehouse = Warehouse.at(admin_url, settings)
    bootstrap(warehouse)
    return warehouse
