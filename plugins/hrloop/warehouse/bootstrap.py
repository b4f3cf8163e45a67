"""Databases, roles, schemas and migrations: made when missing, left alone when there.

Least privilege: each role gets what its step of the loop needs, and ``public`` gets nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from hrloop.warehouse.connections import ROLES, SERVICES, Warehouse

OWNED_BY_LOADER = ("raw", "quarantine", "protected")
OWNED_BY_TRANSFORMER = ("staging", "intermediate", "outcomes", "features", "kpi")
READERS = {  # schema built by dbt → who may read what is in it
    "intermediate": ("engine",),
    "outcomes": ("engine", "analyst", "fairness"),
    "features": ("engine",),
    "kpi": ("engine", "analyst"),
}
ASKING = "engine"  # the role that asks whether there is anything to do
VERSION_TABLE = "loop.alembic_version"
_LOCK = 7_402_193_311  # advisory lock: one bootstrap at a time per server


def bootstrap(warehouse: Warehouse) -> bool:
    """Bring the server up to what this version of hrloop needs. True when there was anything to do.

    Every process asks, and so it asks as an ordinary role: the administrator's password is used when there
    may be something to do.
    """
    if _seems_current(warehouse) or _current(warehouse):
        return False
    with _maintenance(warehouse) as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
        if _is_superuser(connection):
            # A failing statement must not leave a password in the server's log.
            connection.execute(text("set log_min_error_statement = 'panic'"))
        _make_roles(connection, warehouse)
        _make_databases(connection, warehouse)
        with warehouse.engine("admin").begin() as inside:
            _make_schemas(inside)
        with warehouse.engine("admin").begin() as inside:
            command.upgrade(_migrations(inside), "head")
            inside.execute(text(f"grant select on {VERSION_TABLE} to {ASKING}"))
        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
    return True


def copy(server: Warehouse, template: str, name: str, owner: str | None = None) -> None:
    """Make the database ``name`` a copy of another one of the server, in place of what it was before.

    Nobody may be connected to the template. Warehouses (no ``owner``) let in the roles of the loop, a
    service's database only its owner.
    """
    drop(server, name)
    with _maintenance(server) as connection:
        quote = connection.dialect.identifier_preparer.quote
        owned = f" owner {owner}" if owner else ""
        connection.execute(text(f"create database {quote(name)} template {quote(template)}{owned}"))
        connection.execute(text(f"revoke all on database {quote(name)} from public"))
        if owner is None:
            _let_in(connection, name)


def drop(server: Warehouse, name: str) -> None:
    """Drop a database of the server, whoever is connected to it. Nothing happens when there is none."""
    with _maintenance(server) as connection:
        quote = connection.dialect.identifier_preparer.quote
        connection.execute(text(f"drop database if exists {quote(name)} with (force)"))


@contextmanager
def _maintenance(server: Warehouse) -> Iterator[Connection]:
    """A connection to the server's own database, in which each statement is its own transaction."""
    engine = create_engine(server.admin.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _migrations(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "hrloop.warehouse:migrations")
    config.attributes["connection"] = connection
    return config


def _seems_current(warehouse: Warehouse) -> bool:
    try:
        return _at_head(warehouse, ASKING)
    except (OperationalError, ProgrammingError):  # there is no such role or database yet, or it may not look
        return False


def _current(warehouse: Warehouse) -> bool:
    if not (warehouse.exists() and _at_head(warehouse, "admin")):
        return False
    with warehouse.engine("admin").connect() as connection:  # false where an earlier version set it up
        return connection.scalar(text(f"select has_table_privilege('{ASKING}', '{VERSION_TABLE}', 'select')"))


def _at_head(warehouse: Warehouse, role: str) -> bool:
    with warehouse.engine(role).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "loop"})
        return context.get_current_revision() == ScriptDirectory.from_config(_migrations()).get_current_head()


def _make_roles(connection: Connection, warehouse: Warehouse) -> None:
    there = set(connection.scalars(text("select rolname from pg_roles")))
    superuser = _is_superuser(connection)
    for role in ROLES + SERVICES:
        if role not in there:
            connection.execute(text(f"create role {role}"))
        # psycopg2 puts the bound value in as a literal: utility statements take no parameters.
        connection.execute(
            text(f"alter role {role} login password :password"),
            {"password": warehouse.settings.secret(f"postgres_{role}")},
        )
        if role == "transformer":
            # Windows hide from the planner how many rows are the newest version (it guesses one in 200), and
            # a nested loop over 50,000 by 50,000 rows takes minutes where a hash join takes a second.
            connection.execute(text("alter role transformer set enable_nestloop = off"))
        if not superuser:  # a managed Postgres: its administrator must act for the roles it made
            connection.execute(text(f"grant {role} to current_user"))


def _is_superuser(connection: Connection) -> bool:
    return connection.scalar(text("select rolsuper from pg_roles where rolname = current_user"))


def _make_databases(connection: Connection, warehouse: Warehouse) -> None:
    there = set(connection.scalars(text("select datname from pg_database")))
    quote = connection.dialect.identifier_preparer.quote
    for name, owner in [(warehouse.database, None), *((service, service) for service in SERVICES)]:
        if name not in there:
            connection.execute(text(f"create database {quote(name)}" + (f" owner {owner}" if owner else "")))
        connection.execute(text(f"revoke all on database {quote(name)} from public"))
    _let_in(connection, warehouse.database)


def _let_in(connection: Connection, database: str) -> None:
    name = connection.dialect.identifier_preparer.quote(database)
    connection.execute(text(f"grant connect on database {name} to {', '.join(ROLES)}"))
    # ADBC and the loader stage rows in temporary tables before they merge them.
    connection.execute(text(f"grant temporary on database {name} to loader, engine, transformer"))


def _make_schemas(connection: Connection) -> None:
    connection.execute(text("revoke all on schema public from public"))
    connection.execute(text("create schema if not exists loop"))
    connection.execute(text("grant usage on schema loop to loader, transformer, engine"))
    for schema in OWNED_BY_LOADER:
        connection.execute(text(f"create schema if not exists {schema} authorization loader"))
    connection.execute(text("grant usage on schema raw to transformer"))
    connection.execute(text("grant usage on schema protected to fairness"))
    for schema in OWNED_BY_TRANSFORMER:
        connection.execute(text(f"create schema if not exists {schema} authorization transformer"))
        for role in READERS.get(schema, ()):
            connection.execute(text(f"grant usage on schema {schema} to {role}"))
            connection.execute(
                text(
                    f"alter default privileges for role transformer in schema {schema}"
                    f" grant select on tables to {role}"
                )
            )
