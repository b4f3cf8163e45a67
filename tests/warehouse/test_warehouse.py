"""Roles, the loop's tables, bulk rows and the ledger of steps."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hrloop.warehouse import Warehouse, steps
from hrloop.warehouse.bootstrap import bootstrap
from hrloop.warehouse.fingerprint import fingerprint
from hrloop.warehouse.tables import APPEND_ONLY, metadata
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, 6, tzinfo=UTC) for month in (1, 2, 3))


def test_migrations_make_the_tables_that_the_code_declares(warehouse: Warehouse):
    def in_loop(_object, name, kind, _reflected, _compare_to):
        return kind != "table" or name != "alembic_version"

    with warehouse.engine("admin").connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table_schema": "loop",
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name == "loop",
                "include_object": in_loop,
                "compare_type": True,
            },
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("analyst", "select * from loop.decisions"),
        ("analyst", "create table outcomes.mine (x int)"),
        ("engine", "insert into loop.batches (batch_id) values ('x')"),
        ("engine", "create table raw.mine (x int)"),
        ("transformer", "insert into loop.decisions (decision_id) values ('x')"),
        ("transformer", "create table loop.mine (x int)"),
        ("loader", "select * from loop.reviews"),
        ("fairness", "select * from loop.decisions"),
        ("loader", "create table public.mine (x int)"),
    ],
)
def test_a_role_can_do_its_step_and_no_more(warehouse: Warehouse, role: str, statement: str):
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        warehouse.engine(role).begin() as connection,
    ):
        connection.execute(text(statement))


def test_what_dbt_builds_is_read_by_those_it_is_for(warehouse: Warehouse):
    with warehouse.engine("transformer").begin() as connection:
        for schema in ("intermediate", "outcomes", "features", "kpi"):
            connection.execute(text(f"create table {schema}.built as select 1 as x"))
    allowed = {("engine", schema) for schema in ("intermediate", "outcomes", "features", "kpi")} | {
        ("analyst", "outcomes"),
        ("analyst", "kpi"),
        ("fairness", "outcomes"),
    }
    for role in ("engine", "analyst", "fairness"):
        for schema in ("intermediate", "outcomes", "features", "kpi"):
            with warehouse.engine(role).connect() as connection:
                try:
                    readable = connection.scalar(text(f"select x from {schema}.built")) == 1
                except ProgrammingError:
                    readable = False
            assert readable == ((role, schema) in allowed), (role, schema)


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY])
@pytest.mark.parametrize("statement", ["delete from", "truncate", "update"])
def test_append_only_tables_refuse_even_the_administrator(warehouse: Warehouse, table: str, statement: str):
    key = metadata.tables[f"loop.{table}"].primary_key.columns.keys()[0]
    change = f"update loop.{table} set {key} = 'x'" if statement == "update" else f"{statement} loop.{table}"
    if statement == "truncate":
        change += " cascade"
    with pytest.raises(DatabaseError, match="append-only"), warehouse.engine("admin").begin() as connection:
        connection.execute(text(change))


def test_the_administrator_is_asked_for_only_when_there_is_something_to_do(warehouse: Warehouse):
    nobody = replace(warehouse, admin=warehouse.admin.set(password="wrong"), _engines={})
    assert bootstrap(nobody) is False
    for change in (
        "revoke select on loop.alembic_version from engine",  # as an earlier version left it
        "update loop.alembic_version set version_num = '0001'",
    ):
        with warehouse.engine("admin").begin() as connection:
            connection.execute(text(change))
        with pytest.raises(OperationalError, match="password authentication failed for user"):
            bootstrap(nobody)
        if change.startswith("revoke"):
            assert bootstrap(warehouse) is True
            assert bootstrap(nobody) is False
    nobody.dispose()


def batches(*names: str) -> pa.Table:
    return pa.table(
        {
            "batch_id": list(names),
            "system": ["ats"] * len(names),
            "table_name": ["applications"] * len(names),
            "file_name": ["x.csv"] * len(names),
            "content_sha256": ["0"] * len(names),
            "arrived_at": pa.array([JANUARY] * len(names), pa.timestamp("us", "UTC")),
            "status": ["loaded"] * len(names),
            "extra_columns": [["shoe_size"]] * len(names),
        }
    )


def test_rows_go_in_once_and_come_out_with_bound_parameters(warehouse: Warehouse):
    assert warehouse.merge("loader", {"loop.batches": batches("a", "b")}) == 2
    assert warehouse.merge("loader", {"loop.batches": batches("b", "c")}) == 1
    found = warehouse.read(
        "engine",
        "select batch_id, arrived_at, extra_columns from loop.batches"
        " where batch_id <> :other and arrived_at <= :as_of order by batch_id",
        other="x' or true --",
        as_of=JANUARY,
    )
    assert found["batch_id"].to_pylist() == ["a", "b", "c"]
    assert found["arrived_at"][0].as_py() == JANUARY
    assert found["extra_columns"][0].as_py() == ["shoe_size"]


@pytest.mark.parametrize("words", ["O'Brien \\ 100 %", "%(words)s", ":other", "Åsa", ""])
def test_a_parameter_comes_back_as_it_was_given(warehouse: Warehouse, words: str):
    query = "select :words::text as words, :listed::text[] as listed, 'a%' like '%' as alike"
    found = warehouse.read("engine", query, words=words, listed=[words, "b"]).to_pylist()
    assert found == [{"words": words, "listed": [words, "b"], "alike": True}]


def test_a_merge_with_an_unknown_column_names_it(warehouse: Warehouse):
    with pytest.raises(ValueError, match=r"loop\.batches has no column colour"):
        warehouse.merge("loader", {"loop.batches": batches("a").append_column("colour", pa.array(["red"]))})


def test_a_fingerprint_sees_content_and_neither_order_nor_clock(warehouse: Warehouse):
    empty = fingerprint(warehouse, "loop.batches")
    warehouse.merge("loader", {"loop.batches": batches("a", "b")})
    first = fingerprint(warehouse, "loop.batches")
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text("delete from loop.batches"))
    assert fingerprint(warehouse, "loop.batches") == empty
    warehouse.merge("loader", {"loop.batches": batches("b", "a")})
    assert fingerprint(warehouse, "loop.batches") == first
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text("update loop.batches set reason = 'changed' where batch_id = 'a'"))
    assert fingerprint(warehouse, "loop.batches") != first
    with pytest.raises(ValueError, match=r"no table loop\.nothing"):
        fingerprint(warehouse, "loop.nothing")


def test_the_ledger_says_what_is_left_to_do(warehouse: Warehouse):
    with warehouse.engine("engine").begin() as connection:
        for as_of in (MARCH, JANUARY, FEBRUARY):
            steps.finish(connection, "gate", "*", as_of, {})
        assert steps.pending(connection, "build", after="gate") == [JANUARY, FEBRUARY, MARCH]
        steps.start(connection, "build", "*", JANUARY)  # and killed: it is to be done again
        steps.fail(connection, "build", "*", FEBRUARY, {"why": "a failed check"})
        assert steps.pending(connection, "build", after="gate") == [JANUARY, MARCH]
        steps.finish(connection, "build", "*", JANUARY, {"rows": 3})
        assert steps.pending(connection, "build", after="gate") == [MARCH]
        assert steps.latest_done(connection, "build") == JANUARY
        assert steps.state(connection, "build", "*", FEBRUARY) == "failed"


def test_the_transformer_plans_without_nested_loops(warehouse):
    with warehouse.engine("transformer").connect() as connection:
        assert connection.scalar(text("show enable_nestloop")) == "off"
    with warehouse.engine("engine").connect() as connection:
        assert connection.scalar(text("show enable_nestloop")) == "on"
