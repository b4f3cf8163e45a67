"""The gate's completeness check beside one SQL aggregate written by hand, on 20 fields.

Both decide with the same condition what is missing: NULL, NaN in any case, empty, or blank. The aggregate
counts rows and gaps once over the whole table, and that is all. Ours is what the gate does for a delivery:
Great Expectations is set up, 20 expectations are evaluated on the delivered rows, quarantine included, and
their verdicts are stored; with groups, they also hold for each site and each channel. Left out is the
rendering of the data docs, about a second whatever the number of rows.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hrloop.quality.expectations import ExpectFieldToBeComplete
from hrloop.quality.rules import missing
from hrloop.quality.validation import Check, Session
from hrloop.warehouse import Warehouse
from sqlalchemy import text

from benchmarks import VERY_MANY, Row, duration, in_bulk, seconds

LIMIT = 2.0  # times the hand-written aggregate
AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)
FIELDS = [f"field_{number}" for number in range(20)]
RAW, QUARANTINE = "raw.completeness_benchmark", "quarantine.completeness_benchmark"
ORIGINALS = ", ".join(f"original->>'{name}'" for name in ["site", "channel", *FIELDS])
# As a delivery is read by hrloop.quality.checks.delivered.
DELIVERED = (
    f"select _batch_id, null::text[] as _rules, site, channel, {', '.join(FIELDS)} from {RAW}"  # noqa: S608
    " where _batch_id = any('{b1}') union all"
    f" select batch_id, rules, {ORIGINALS} from {QUARANTINE}"
    " where batch_id = any('{b1}') and readmitted_as_of is null"
)
BY_HAND = (
    f"select count(*), {', '.join(f'count(*) filter (where {missing(name)})' for name in FIELDS)} from {RAW}"  # noqa: S608
)


def run(wh: Warehouse, n: int) -> list[Row]:
    """Seconds of the check on n rows of one batch, without and with groups."""
    rows = []
    try:
        _make(wh, n)
        expected = _by_hand(wh)  # warms the cache, too
        for name, groups in (
            ("completeness of 20 fields", []),
            ("completeness of 20 fields, also per site and channel", ["site", "channel"]),
        ):
            found = _ours(wh, groups)
            if found != expected:
                raise RuntimeError(f"the two count differently: {found} and {expected}")
            turns = [
                (seconds(lambda g=groups: _ours(wh, g)), seconds(lambda: _by_hand(wh))) for _ in range(3)
            ]
            rows.append(duration(name, n, turns, in_bulk(LIMIT, n, VERY_MANY)))
    finally:
        _drop(wh)
    return rows


def _make(wh: Warehouse, n: int) -> None:
    """n rows of 20 fields of 12 characters, of which one in 99 is missing in one of four ways."""
    gap = "(array[null, '', ' ', 'NaN'])[1 + (g / 99) % 4]"
    values = ", ".join(
        f"case when (g + {place}) % 99 = 0 then {gap} else left(md5((g * 20 + {place})::text), 12) end"
        for place in range(len(FIELDS))
    )
    _drop(wh)
    with wh.engine("loader").connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        columns = ", ".join(f"{name} text" for name in FIELDS)
        connection.execute(
            text(f"create table {RAW} (_batch_id text not null, site text, channel text, {columns})")
        )
        connection.execute(
            text(
                f"create table {QUARANTINE} (batch_id text, rules text[], original jsonb,"
                " readmitted_as_of timestamptz)"
            )
        )
        connection.execute(
            text(
                f"insert into {RAW} select 'b1', 'site ' || g % 7, 'channel ' || g % 5, {values}"  # noqa: S608
                " from generate_series(1, :n) as g"
            ),
            {"n": n},
        )
        connection.execute(text(f"vacuum analyze {RAW}"))


def _drop(wh: Warehouse) -> None:
    with wh.engine("loader").begin() as connection:
        connection.execute(text(f"drop table if exists {RAW}, {QUARANTINE}"))


def _ours(wh: Warehouse, groups: list[str]) -> list[int]:
    """What the gate counts: rows, and the gaps of each field."""
    expectations = [
        ExpectFieldToBeComplete(
            field=name,
            fields=FIELDS,
            groups=groups,
            minimum_percent="95",
            group_minimum_rows=100,
            meta={"files": {"b1": "benchmark"}},
        )
        for name in FIELDS
    ]
    with tempfile.TemporaryDirectory() as home:
        settings = wh.settings.model_copy(update={"home": Path(home)})
        session = Session(wh, settings, AS_OF)
        try:
            (results,) = session.run("benchmark", [Check("benchmark", "benchmark", DELIVERED, expectations)])
        finally:
            session.close()
    whole = [result["result"]["details"]["verdicts"][0] for result in results]
    return [whole[0]["rows"], *(verdict["missing"] for verdict in whole)]


def _by_hand(wh: Warehouse) -> list[int]:
    with wh.engine("loader").connect() as connection:
        return list(connection.execute(text(BY_HAND)).one())
