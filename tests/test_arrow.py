"""Rows as JSON and texts in lists, held to what Python makes of them one by one."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hrloop import arrow
from hypothesis import given
from hypothesis import strategies as st

FINITE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(FINITE, TEXTS, st.none() | st.booleans(), st.none()), max_size=20))
def test_rows_are_read_back_exactly(rows):
    names = ["a number", 'a "text"', "a flag", "nothing"]
    columns = list(zip(*rows, strict=True)) or [()] * 4
    types = [pa.float64(), pa.string(), pa.bool_(), pa.null()]
    table = pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=names)
    written = arrow.json_objects(table).to_pylist()
    assert [json.loads(text) for text in written] == [dict(zip(names, row, strict=True)) for row in rows]
    for text, row in zip(written, rows, strict=True):
        assert row[0] is None or f'"a number": {json.dumps(row[0])}' in text


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_json_cannot_say_is_refused(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        arrow.json_objects(pa.table({"x": [1.0, number]}))


@given(st.lists(st.tuples(st.integers(0, 4), st.text("abc", max_size=3)), max_size=30))
def test_words_are_gathered_in_the_order_in_which_they_are_given(said):
    expected: list[list[str]] = [[] for _ in range(5)]
    for row, word in said:
        expected[row].append(word)
    rows = np.array([row for row, _ in said], int)
    assert arrow.gathered(rows, [word for _, word in said], 5).to_pylist() == expected
