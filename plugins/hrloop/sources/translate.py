"""A source's own words, dates and numbers as the contract writes them: pure functions from Arrow to Arrow.

What a source declaration says of a table is done here, and nothing else. A value that the declaration does
not speak of stays as it was delivered, for the gate to see.
"""

import re
from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from hrloop.sources.contract import Refusal, Table
from hrloop.sources.declaration import Fill, TableSource
from hrloop.sources.rows import pseudonyms

_JOINT = "\x1f"  # the unit separator of ASCII: no export holds it


def translate(
    table: Table,
    rows: pa.Table,
    lines: pa.Array,
    source: TableSource,
    *,
    file_name: str,
    pseudonym_key: str,
) -> tuple[pa.Table, pa.Array]:
    """Rows of a delivery, as text under contract names, in the contract's own writing; and their lines.

    Rows without a value in a column of ``only_with`` are left out: they are of another table. Raises Refusal
    when a pattern of ``fill`` does not match the file's name.
    """
    for name, fill in source.fill.items():
        if fill.file_name is not None:
            rows = _filled(rows, name, pa.repeat(_from_name(name, fill, file_name), rows.num_rows))
    for name in source.only_with:
        there = _has_value(_column(rows, name))
        rows, lines = rows.filter(there), lines.filter(there.combine_chunks())
    for name, read in _readers(table, source):
        if name in rows.column_names:
            rows = _set(rows, name, _each(rows[name], read))
    for name, fill in source.fill.items():
        if fill.column is not None:
            rows = _filled(rows, name, _column(rows, fill.column))
        elif fill.hash_of:
            rows = _filled(rows, name, _hash([_column(rows, other) for other in fill.hash_of], pseudonym_key))
    return rows, lines


def _readers(table: Table, source: TableSource) -> list[tuple[str, Callable[[str], str]]]:
    """(column, how to write one of its values anew), in the order of translation."""
    readers = [(name, _by_words(words)) for name, words in source.values.items()]
    readers += [(name, _by_format(form, table.columns[name].type)) for name, form in source.dates.items()]
    if source.decimal:
        readers += [
            (name, _by_sign(source.decimal))
            for name, column in table.columns.items()
            if column.type in ("number", "integer") and name not in source.values
        ]
    readers += [(name, _by_separator(sign)) for name, sign in source.lists.items()]
    return readers


def _by_words(words: dict[str, str]) -> Callable[[str], str]:
    return lambda value: words.get(value.strip().casefold(), value)


def _by_format(form: str, kind: str) -> Callable[[str], str]:
    """Into ISO 8601; a column of whole numbers takes the year."""

    def read(value: str) -> str:
        try:
            moment = datetime.strptime(value.strip(), form)  # noqa: DTZ007 - the source's zone is added later
        except ValueError:
            return value
        if kind == "timestamp":
            return moment.isoformat()
        return str(moment.year) if kind == "integer" else moment.date().isoformat()

    return read


def _by_sign(decimal: str) -> Callable[[str], str]:
    """``1.234,50`` and ``1 234,50`` as 1234.50, where the decimal sign is a comma."""
    groups = "." if decimal == "," else ","
    grouped = re.compile(rf"[+-]?[1-9]\d{{0,2}}([{groups}\s'’]\d{{3}})+([{decimal}]\d+)?")
    plain = re.compile(rf"[+-]?\d*[{decimal}]?\d+")

    def read(value: str) -> str:
        text = value.strip()
        if grouped.fullmatch(text):
            text = re.sub(rf"[{groups}\s'’]", "", text)
        return text.replace(decimal, ".") if plain.fullmatch(text) else value

    return read


def _by_separator(sign: str) -> Callable[[str], str]:
    return lambda value: "|".join(filter(None, (item.strip() for item in value.split(sign))))


def _each(column: pa.ChunkedArray, read: Callable[[str], str]) -> pa.ChunkedArray:
    """A column with each of its values read anew, each distinct one once."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = pa.array(map(read, encoded.dictionary.to_pylist()), pa.string())
    return pa.chunked_array([distinct.take(encoded.indices)])


def _from_name(column: str, fill: Fill, file_name: str) -> str:
    match = re.search(fill.file_name, file_name)
    if match is None:
        raise Refusal(
            f"its name does not match {fill.file_name!r}, from which {column} is filled;"
            " rename the file, or change fill in the source declaration"
        )
    return match[1]


def _hash(columns: list[pa.ChunkedArray], key: str) -> pa.Array:
    """A keyed hash of the values together: who holds no key cannot find out a person by trying."""
    complete = columns[0]
    for column in columns:
        complete = pc.if_else(_has_value(column), complete, None)
    joined = pc.binary_join_element_wise(*columns, _JOINT)
    return pseudonyms(pc.if_else(pc.is_valid(complete), joined, None).combine_chunks(), key)


def _has_value(column: pa.ChunkedArray) -> pa.ChunkedArray:
    blank = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column)), pa.array(["", "nan"]))
    return pc.and_(pc.is_valid(column), pc.invert(blank))


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray:
    if name in rows.column_names:
        return rows[name]
    return pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])


def _filled(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    column = _column(rows, name)
    return _set(rows, name, pc.if_else(_has_value(column), column, values))


def _set(rows: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if name in rows.column_names:
        return rows.set_column(rows.column_names.index(name), name, column)
    return rows.append_column(name, column)
