"""Delivered rows, made ready for ``raw``: pure functions from Arrow to Arrow.

Values stay as they were delivered, as text. Three things are done to them: identifiers lose surrounding
white space, local times get the offset that the source declares, and persons get keyed pseudonyms.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from hrloop import arrow, keyed
from hrloop.sources.contract import Refusal, Table
from hrloop.sources.declaration import TableSource

MOMENT = pa.timestamp("us", "UTC")
INTERNAL = ("_extra", "_batch_id", "_row", "_happened_at", "_known_at", "_arrived_at")
MISSING_KEY, DUPLICATE_KEY = "missing_key", "duplicate_key"
DETAILS = {
    MISSING_KEY: "a column of the key has no value",
    DUPLICATE_KEY: "another row with the same key, known at the same time, stands",
}
_ROWS_AT_A_TIME = 16_384  # some megabytes: what a socket's buffers hold while the next are made
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}(:?\d{2}(:?\d{2})?)?)?)?"
)


@dataclass(frozen=True)
class Held:
    """A row that goes to quarantine instead of ``raw``, with the whole original."""

    row: int
    rule: str
    detail: str
    original: dict


@dataclass(frozen=True)
class Prepared:
    """A batch ready to be loaded: rows that are shaped like the raw table, and those held back.

    ``delivered`` holds the contract's columns, the row's line and its times; ``extra``, row by row, what is
    not in the contract. Pseudonyms and JSON are made as ``reader`` is read: Postgres stores some rows while
    the next are made.
    """

    table: Table
    delivered: pa.Table
    extra: pa.Table
    held: list[Held]
    batch_id: str
    arrived_at: datetime
    pseudonym_key: str

    @property
    def rows_in(self) -> int:
        return self.delivered.num_rows + len(self.held)

    @property
    def extra_columns(self) -> list[str]:
        return self.extra.column_names

    @property
    def rows(self) -> pa.Table:
        """All rows at once, as the raw table will hold them."""
        return self.reader().read_all()

    def reader(self) -> pa.RecordBatchReader:
        """The rows, some at a time, as the raw table will hold them."""
        persons = [name for name in self.table.keys_of_persons if name in self.delivered.column_names]
        keys = [self.table.keys_of_persons[name] for name in persons]
        schema = self.delivered.schema
        for name in [*keys, *(["_extra"] if self.extra_columns else []), "_batch_id"]:
            schema = schema.append(pa.field(name, pa.string()))
        schema = schema.append(pa.field("_arrived_at", MOMENT))

        def derived() -> Iterator[pa.RecordBatch]:
            start = 0
            for rows in self.delivered.to_batches(max_chunksize=_ROWS_AT_A_TIME):
                columns = rows.columns + [pseudonyms(rows[name], self.pseudonym_key) for name in persons]
                if self.extra_columns:
                    columns.append(_jsonb(self.extra.slice(start, rows.num_rows)))
                columns.append(pa.repeat(pa.scalar(self.batch_id), rows.num_rows))
                columns.append(pa.repeat(pa.scalar(self.arrived_at, MOMENT), rows.num_rows))
                start += rows.num_rows
                yield pa.record_batch(columns, schema=schema)

        return pa.RecordBatchReader.from_batches(schema, derived())


def name_columns(table: Table, given: list[str], source: TableSource) -> list[str]:
    """The delivered columns under their contract names; those of no contract column keep theirs.

    Raises Refusal for a column without a name, a name that is there twice, and a column that the contract
    asks for and the source does not declare absent.
    """
    names = [source.rename.get(name.strip(), name.strip()) for name in given]
    if "" in names:
        raise Refusal(f"column {names.index('') + 1} has no name in the header; name it or leave it out")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refusal(f"column {', '.join(twice)} is there more than once; keep one")
    asked = [name for name, column in table.columns.items() if column.required or column.critical]
    missing = [name for name in asked if name not in {*names, *source.absent, *source.fill}]
    if not missing:
        return names
    if len(names) == 1 and (separator := next((sign for sign in ";\t|" if sign in names[0]), None)):
        raise Refusal(
            f"the header is separated by {separator!r}; write the file with commas (RFC 4180), or"
            " declare its delimiter"
        )
    required = [name for name in missing if table.columns[name].required]
    critical = [name for name in missing if name not in required]
    origin = {new: old for old, new in source.rename.items()}
    told = [f"{name} (declared as {origin[name]!r})" if name in origin else name for name in missing]
    remedies = ["add it, or map the source's own name to it under rename in the source declaration"]
    if critical:
        remedies.append(f"if the company has no {', '.join(critical)} at all, declare it under absent")
    kind = "required" if required else "critical"
    raise Refusal(f"{kind} column {', '.join(told)} is missing; {'; '.join(remedies)}")


def as_text(column: pa.ChunkedArray, kind: str, name: str) -> pa.ChunkedArray:
    """A typed column as the text that a CSV file of the contract would hold; null stays null.

    ``kind`` is the column's type in the contract: whole numbers lose a ``.0`` where no fraction belongs,
    and midnights become days where a date belongs. Raises Refusal for types that have no such text.
    """
    given = column.type
    if pa.types.is_dictionary(given):
        return as_text(column.cast(given.value_type), kind, name)
    if pa.types.is_floating(given) or pa.types.is_decimal(given):
        if kind in ("integer", "text"):
            try:
                bare = pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(given) else column
                return bare.cast(pa.int64()).cast(pa.string())
            except pa.ArrowInvalid:
                pass  # there are fractions: keep them for the gate to see
        return column.cast(pa.string())
    if pa.types.is_timestamp(given):
        if kind == "date" and given.tz is None:
            try:
                return column.cast(pa.date32()).cast(pa.string())
            except pa.ArrowInvalid:
                pass  # there are times of day: keep them for the gate to see
        return _moment_text(column)
    if pa.types.is_list(given) or pa.types.is_large_list(given):
        if not _is_plain(given.value_type):
            raise Refusal(f"column {name} holds {given}; write it as text")
        joined = [
            None if items is None else "|".join(str(item) for item in items if item is not None)
            for items in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(joined, pa.string())])
    if not _is_plain(given):
        raise Refusal(f"column {name} holds {given}; write it as text")
    return column.cast(pa.string())


def _is_plain(given: pa.DataType) -> bool:
    return (
        pa.types.is_string(given)
        or pa.types.is_large_string(given)
        or pa.types.is_string_view(given)
        or pa.types.is_integer(given)
        or pa.types.is_boolean(given)
        or pa.types.is_date(given)
        or pa.types.is_time(given)
        or pa.types.is_null(given)
    )


def _moment_text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Timestamps in ISO 8601, in UTC with a trailing Z where they know their zone; whole seconds bare."""
    zone = "UTC" if column.type.tz else None
    try:
        column = column.cast(pa.timestamp("s", zone))
    except pa.ArrowInvalid:
        column = column.cast(pa.timestamp("us", zone), safe=False)  # finer than Postgres keeps
    return pc.strftime(column, format="%Y-%m-%dT%H:%M:%S" + ("Z" if zone else ""))


def text_of(value: object) -> str | None:
    """One value of a SQL row or a JSON document as the text that a CSV file of the contract would hold."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.isoformat() + ("Z" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | set) and all(isinstance(item, str | int | float) for item in value):
        return "|".join(map(str, value))
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)


def refuse_zero_bytes(rows: pa.Table, lines: pa.Array) -> None:
    """Raises Refusal when a text holds a zero byte, which Postgres cannot keep."""
    for name in rows.column_names:
        index = pc.index(pc.match_substring(rows[name], "\0"), True).as_py()
        if index >= 0:
            raise Refusal(f"line {lines[index]}, column {name} holds a zero byte; take it out")


def prepare(
    table: Table,
    rows: pa.Table,
    lines: pa.Array,
    *,
    batch_id: str,
    arrived_at: datetime,
    pseudonym_key: str,
    time_zone: str | None = None,
    history_until: datetime | None = None,
) -> Prepared:
    """Give delivered rows their pseudonyms and times, and hold back those that cannot be keyed.

    ``rows``: text columns under their contract names, others are extra; ``lines``: the line of each row in
    its file (int64). A row is held for ``missing_key``, and for ``duplicate_key`` when another row of the
    batch has its key and known-time: the one updated last stays, among equals the last line.
    Raises Refusal for a time without offset where ``time_zone`` is None.
    """
    columns = {name: rows[name] for name in table.columns if name in rows.column_names}
    for name in table.identifiers:
        if name in columns:
            columns[name] = pc.utf8_trim_whitespace(columns[name])
    moments = {}
    for name, column in table.columns.items():
        if column.type == "timestamp" and name in columns:
            columns[name], moments[name] = _localise(columns[name], name, time_zone, table.system, lines)
    if table.happened_at not in moments:
        moments[table.happened_at] = moments_of(columns[table.happened_at], "UTC")

    updated = moments.get("updated_at", pa.chunked_array([pa.nulls(rows.num_rows, MOMENT)]))
    known = known_at(updated, arrived_at, history_until)
    missing = _any_missing([columns[name] for name in table.key])
    duplicate = _duplicates([columns[name] for name in table.key], known, updated, missing)

    times = {"_row": lines, "_happened_at": moments[table.happened_at], "_known_at": known}
    delivered = pa.table(columns | times)
    extra = rows.drop_columns([name for name in rows.column_names if name in table.columns])
    held = _hold(table, rows, columns, lines, missing, duplicate)
    if held:
        stands = pc.invert(pc.or_(missing, duplicate))
        delivered, extra = delivered.filter(stands), extra.filter(stands)
    return Prepared(table, delivered, extra, held, batch_id, arrived_at, pseudonym_key)


def known_at(
    updated: pa.ChunkedArray, arrived_at: datetime, history_until: datetime | None = None
) -> pa.ChunkedArray:
    """When rows became known: at their update, but not before they arrived.

    Without the second half a late file would change what an earlier as_of saw. Only rows updated before
    ``history_until``, which the source declares to have been known all along, keep their update alone.
    """
    arrived = pa.scalar(arrived_at, MOMENT)
    own = pc.greater(updated, arrived)
    if history_until is not None:
        own = pc.or_(own, pc.less(updated, pa.scalar(history_until, MOMENT)))
    return pc.if_else(pc.fill_null(own, False), updated, arrived)


def moments_of(column: pa.ChunkedArray, time_zone: str | None) -> pa.ChunkedArray:
    """ISO 8601 texts as UTC moments (null where a text is none); local times are of ``time_zone``, or UTC."""
    return _moments(column, time_zone)[0]


def pseudonyms(column: pa.Array, key: str) -> pa.Array:
    """First 32 hex digits of HMAC-SHA-256 over each value; null for a missing one.

    Each distinct value is hashed once.
    """
    hashed = keyed.hasher(key)
    encoded = pc.if_else(_missing(column), None, column).dictionary_encode()
    distinct = encoded.dictionary.cast(pa.binary()).to_pylist()
    return pa.array([hashed(value).hex()[:32] for value in distinct], pa.string()).take(encoded.indices)


def _missing(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Whether trimmed identifiers are null, empty or NaN."""
    return pc.or_(
        pc.is_null(column), pc.fill_null(pc.is_in(pc.utf8_lower(column), pa.array(["", "nan"])), False)
    )


def _any_missing(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    result = _missing(columns[0])
    for column in columns[1:]:
        result = pc.or_(result, _missing(column))
    return result


def _duplicates(
    key: list[pa.ChunkedArray], known: pa.ChunkedArray, updated: pa.ChunkedArray, missing: pa.ChunkedArray
) -> pa.ChunkedArray:
    """Whether another row of the batch stands for the same key and known-time."""
    names = [f"k{number}" for number in range(len(key))]
    rows = pa.table(dict(zip(names, key, strict=True)))
    if pc.any(missing).as_py():
        rows = rows.filter(pc.invert(missing))
    none = pa.chunked_array([pa.repeat(pa.scalar(False), len(missing))])
    if _ascends(rows) or rows.group_by(names).aggregate([]).num_rows == rows.num_rows:
        return none
    ranked = pa.table(
        dict(zip(names, key, strict=True))
        | {"known": known, "updated": updated, "row": pa.array(range(len(missing)), pa.int64())}
    ).filter(pc.invert(missing))
    ranked = ranked.sort_by([("updated", "ascending"), ("row", "ascending")])
    # Arrow sorts nulls last; a row without an update yields to any that has one.
    ranked = pa.concat_tables(
        [ranked.filter(pc.is_null(ranked["updated"])), ranked.filter(pc.is_valid(ranked["updated"]))]
    )
    standing = ranked.group_by([*names, "known"], use_threads=False).aggregate([("row", "last")])["row_last"]
    stands = pc.is_in(pa.array(range(len(missing)), pa.int64()), standing.combine_chunks())
    return pa.chunked_array([pc.and_(pc.invert(missing.combine_chunks()), pc.invert(stands))])


def _ascends(rows: pa.Table) -> bool:
    """Whether the first column is in strict order, as that of an export by key is: then no two are equal."""
    column = rows.column(0)
    return bool(pc.all(pc.less(column.slice(0, max(len(column) - 1, 0)), column.slice(1))).as_py())


def _hold(
    table: Table,
    rows: pa.Table,
    columns: dict[str, pa.ChunkedArray],
    lines: pa.Array,
    missing: pa.ChunkedArray,
    duplicate: pa.ChunkedArray,
) -> list[Held]:
    broken = pc.or_(missing, duplicate)
    if not pc.any(broken).as_py():
        return []
    found = pc.indices_nonzero(broken)
    absent = dict.fromkeys(name for name in table.columns if name not in columns)
    held = []
    for row, line, has_no_key in zip(
        rows.take(found).to_pylist(),
        lines.take(found).to_pylist(),
        missing.take(found).to_pylist(),
        strict=True,
    ):
        rule = MISSING_KEY if has_no_key else DUPLICATE_KEY
        held.append(Held(line, rule, DETAILS[rule], absent | row))
    return held


def _localise(
    column: pa.ChunkedArray, name: str, time_zone: str | None, system: str, lines: pa.Array
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """A timestamp column with its local times rewritten in UTC, and the moments it tells."""
    moments, local = _moments(column, time_zone)
    if local is None:
        return column, moments
    if time_zone is None:
        index = pc.index(local, True).as_py()
        raise Refusal(
            f"line {lines[index]}, column {name}: {column[index].as_py()!r} has no UTC offset; write one"
            f" (2024-01-31T09:00:00+01:00), or declare time_zone for {system} in the source declaration"
        )
    return pc.if_else(local, _moment_text(moments), column), moments


def _moments(
    column: pa.ChunkedArray, time_zone: str | None
) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """ISO 8601 texts as UTC moments, null where a text is none, and which of them were local times.

    The second is None when all carried an offset. Local times are read in ``time_zone`` (UTC while that is
    None); of an hour that the clock shows twice the first is taken.
    """
    parts = [_chunk_moments(chunk, time_zone or "UTC") for chunk in column.chunks]
    moments = pa.chunked_array([part[0] for part in parts], MOMENT)
    if all(part[1] is None for part in parts):
        return moments, None
    local = [pa.repeat(pa.scalar(False), len(part[0])) if part[1] is None else part[1] for part in parts]
    return moments, pa.chunked_array(local)


def _chunk_moments(chunk: pa.Array, time_zone: str) -> tuple[pa.Array, pa.Array | None]:
    trimmed = pc.utf8_trim_whitespace(chunk)
    texts = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    try:
        return texts.cast(MOMENT), None  # asks for an offset in every value
    except pa.ArrowInvalid:
        pass
    try:
        return _in_zone(texts.cast(pa.timestamp("us")), time_zone), pc.is_valid(texts)  # refuses any offset
    except pa.ArrowInvalid:
        pass
    read = [_read_moment(text) for text in texts.to_pylist()]
    local = [moment is not None and moment.tzinfo is None for moment in read]
    absolute = pa.array([None if here else moment for moment, here in zip(read, local, strict=True)], MOMENT)
    if not any(local):
        return absolute, None
    naive = pa.array([m if here else None for m, here in zip(read, local, strict=True)], pa.timestamp("us"))
    return pc.coalesce(absolute, _in_zone(naive, time_zone)), pa.array(local)


def _in_zone(naive: pa.Array, time_zone: str) -> pa.Array:
    return pc.assume_timezone(naive, time_zone, ambiguous="earliest", nonexistent="latest").cast(MOMENT)


def _read_moment(text: str | None) -> datetime | None:
    """An ISO 8601 date or time, aware where it has an offset; None for anything else."""
    if text is None or not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # such as 30 February
        return None


def _jsonb(rows: pa.Table) -> pa.Array:
    """Rows as JSON objects in the binary form of Postgres's jsonb: the version byte 1, then the text."""
    return pc.binary_join_element_wise("\x01", arrow.json_objects(rows), "")
