"""Arrow arrays made whole columns at a time: rows as JSON objects, texts gathered into lists."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def json_objects(rows: pa.Table) -> pa.Array:
    """Each row as a JSON object, its values by the names of their columns; null stays null.

    Numbers are written as ``json.dumps`` writes them, so that they are read back exactly. Raises ValueError
    for NaN and the infinities, which JSON has no words for.
    """
    parts: list = ["{"]
    for number, (name, column) in enumerate(zip(rows.column_names, rows.columns, strict=True)):
        parts.append((", " if number else "") + json.dumps(name) + ": ")
        parts += _values(column.combine_chunks())
    return pc.binary_join_element_wise(*_merged([*parts, "}"]), "")


def gathered(row: np.ndarray, words: Sequence[str], n: int) -> pa.ListArray:
    """For each of n rows the list of its words, in the order in which they are given.

    row: (words,), the row (0 to n - 1) that each word belongs to.
    """
    in_order = np.array(words, dtype=object)[np.argsort(row, kind="stable")]
    ends = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(np.bincount(row, minlength=n), out=ends[1:])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(in_order, pa.string()))


def _values(column: pa.Array) -> list:
    """What is joined for a column. Each distinct value is written once, where it does not do as it stands."""
    if pa.types.is_string(column.type) and not column.null_count and not _to_escape(column):
        return ['"', column, '"']
    encoded = column.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if pa.types.is_floating(column.type):  # one call for all: no number has a comma in it
        written = json.dumps(values, allow_nan=False)[1:-1].split(", ") if values else []
    else:
        written = [json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values]
    return [pa.array(written, pa.string()).take(encoded.indices).fill_null("null")]


def _to_escape(column: pa.StringArray) -> bool:
    """Whether any text holds a quote, a backslash or a control character; UTF-8 has these bytes for nothing
    else."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    if column.buffers()[2] is None or not len(column):
        return False
    data = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    return bool(((data < 0x20) | (data == 0x22) | (data == 0x5C)).any())


def _merged(parts: list) -> list:
    """Neighbouring strings made one."""
    merged: list = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged
