"""Reading a landing file: what comes in is what was written, and what cannot be read is told by line."""

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from deliveries import HEADER, requisitions
from hrloop.sources import contract, files
from hrloop.sources.contract import Refusal
from hrloop.sources.declaration import FileTable
from hypothesis import given
from hypothesis import strategies as st

TABLE = contract.load()["ats.requisitions"]
MINUTE = "1970-01-01T00:00:"
ROW = "R1,engineering,Engineer,2024-01-05T09:00:00Z,"


def read(content: str | bytes, name: str = "x.csv", **source):
    data = content.encode() if isinstance(content, str) else content
    return files.read(data, name, TABLE, FileTable(**source))


def refusal(content: str | bytes, name: str = "x.csv", **source) -> str:
    with pytest.raises(Refusal) as error:
        read(content, name, **source)
    return str(error.value)


def test_reads_text_as_it_is():
    rows, lines = read(f"{HEADER}\nR1, engineering ,NaN,,nan\n")
    assert rows.to_pylist() == [
        {
            "requisition_id": "R1",
            "job_family": " engineering ",
            "title": "NaN",
            "opened_at": "",
            "updated_at": "nan",
        }
    ]
    assert lines.to_pylist() == [2]


def test_reads_gzip_byte_order_mark_and_windows_line_ends():
    content = b"\xef\xbb\xbf" + requisitions("R1", "R2").replace("\n", "\r\n").encode()
    rows, lines = read(gzip.compress(content), "X.CSV.GZ")
    assert rows["requisition_id"].to_pylist() == ["R1", "R2"]
    assert rows["updated_at"].to_pylist() == ["2024-01-05T09:00:00Z"] * 2
    assert lines.to_pylist() == [2, 3]


def test_reads_a_header_without_rows():
    rows, lines = read(HEADER + "\n")
    assert (rows.num_rows, len(lines)) == (0, 0)


def test_renames_columns_and_keeps_those_outside_the_contract():
    rows, _ = read(
        "Nr, Family,title,opened_at,Cost centre\nR1,f,t,o,4711\n",
        rename={"Nr": "requisition_id", "Family": "job_family"},
    )
    assert rows.column_names == ["requisition_id", "job_family", "title", "opened_at", "Cost centre"]


def test_reads_other_delimiters_and_encodings():
    content = 'Nr;job_family;title;opened_at\nR1;Öl;"a;b";o\n'.encode("cp1252")
    declared = {"delimiter": ";", "encoding": "cp1252", "rename": {"Nr": "requisition_id"}}
    rows, lines = read(content, **declared)
    assert rows.to_pylist() == [
        {"requisition_id": "R1", "job_family": "Öl", "title": "a;b", "opened_at": "o"}
    ]
    assert lines.to_pylist() == [2]
    wrong = "Nr;job_family;title;opened_at\nR1;f;t;o\nR2;f;\x81;o\n".encode("latin-1")
    assert "line 3 is not cp1252, the declared encoding" in refusal(wrong, **declared)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6) | st.sampled_from(
    ['"', '""', "a\nb", "\r\n", ",", " ", "é", "nan"]
)


@given(st.lists(st.tuples(st.text("Rr1\n", min_size=1, max_size=4), cells, cells, cells, cells), max_size=12))
def test_any_text_comes_back_with_the_line_that_it_begins_on(rows):
    written = io.StringIO(newline="")
    writer = csv.writer(written)  # lines end in CR LF, as RFC 4180 has it
    writer.writerow(HEADER.split(","))
    begins = []
    for row in rows:
        begins.append(
            len(written.getvalue().splitlines(keepends=True)) and written.getvalue().count("\n") + 1
        )
        writer.writerow(row)
    read_rows, lines = read(written.getvalue())
    assert [tuple(row.values()) for row in read_rows.to_pylist()] == rows
    if not any("\r" in cell for row in rows for cell in row):  # a lone carriage return ends a line, too
        assert lines.to_pylist() == begins


def test_lines_count_blank_lines_and_quoted_breaks():
    _, lines = read(f'{HEADER}\n\n{ROW}\n"R2\n\n",a,b,c,d\n{ROW}\n')
    assert lines.to_pylist() == [3, 4, 7]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty: not even a header; deliver it with its header"),
        ("\n\n", "empty: not even a header"),
        ("requisition_id,title,title,opened_at\n", "column title is there more than once; keep one"),
        (f"{HEADER},\n", "column 6 has no name in the header"),
        (f"{HEADER}\n{ROW}\n\nR2,engineering\n", "line 4 has 2 columns where the header has 5; quote values"),
        (f'{HEADER}\n"R\n1",a,b,c,d\nR2,a,b,c,d,e\n', "line 4 has 6 columns where the header has 5"),
        (f'{HEADER}\n{ROW}\nR2,a,b,c,"open\n{ROW}\n', "after line 2 a quote is opened and not closed"),
        (
            f"{HEADER}\n{ROW}\nR2,caf\xe9,b,c,d\n".encode("latin-1"),
            "line 3 is not UTF-8; save the file as CSV UTF-8",
        ),
        (requisitions("R1").encode("utf-16"), "zero byte; deliver the file as UTF-8 text"),
        (f"{HEADER}\nR1,a\0,b,c,d\n", "line 2 holds a zero byte"),
        (HEADER.replace(",", ";") + "\n", "the header is separated by ';'; write the file with commas"),
        (f"{HEADER}\n{'x' * (2 << 20)},a,b,c,d\n", "not readable as CSV (RFC 4180)"),
    ],
)
def test_refuses_what_cannot_be_parsed(content, told):
    assert told in refusal(content)


def test_a_refusal_never_quotes_a_row():
    told = refusal(f"{HEADER}\n{ROW}\nsecret@example.org\n")
    assert "secret" not in told
    assert "line 3 has 1 columns" in told


def test_refuses_a_file_without_a_column_that_is_asked_for():
    required = refusal("requisition_id,title,opened_at\n")
    assert required.startswith("required column job_family is missing; add it, or map the source's own name")
    renamed = refusal("requisition_id,title,opened_at\n", rename={"Family": "job_family"})
    assert "required column job_family (declared as 'Family') is missing" in renamed


def test_a_missing_critical_column_is_refused_unless_declared_absent():
    table = contract.load()["hris.reviews"]
    data = b"review_id,employee_id,period_end\nV1,E1,2024-01-31\n"
    with pytest.raises(Refusal, match=r"critical column rating is missing; .* declare it under absent"):
        files.read(data, "x.csv", table, FileTable())
    rows, _ = files.read(data, "x.csv", table, FileTable(absent=["rating"]))
    assert "rating" not in rows.column_names


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("x.csv.gz", b"not gzip", "not a whole gzip file"),
        ("x.csv.gz", gzip.compress(requisitions("R1").encode())[:-9], "not a whole gzip file"),
        ("x.parquet", b"not parquet", "not readable as Parquet"),
        ("x.xlsx", b"PK", "not a .csv, .csv.gz, .parquet file; deliver it as one of them"),
    ],
)
def test_refuses_a_broken_container(name, data, told):
    assert told in refusal(data, name)


def parquet(**columns) -> bytes:
    whole = {
        "requisition_id": pa.array(["R1", "R2"]),
        "job_family": pa.array(["f", None]),
        "title": pa.array(["t", "u"]),
        "opened_at": pa.array(["2024-01-05T09:00:00Z"] * 2),
    } | columns
    written = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(whole), written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("column", "values", "texts"),
    [
        ("job_family", pa.array(["a", None]).dictionary_encode(), ["a", None]),
        ("headcount", pa.array([3.0, np.nan]), ["3", None]),
        ("headcount", pa.array([3.5, None]), ["3.5", None]),
        ("requisition_id", pa.array([7, 8]), ["7", "8"]),
        ("requisition_id", pa.array([7.0, 8.0]), ["7", "8"]),
        ("opened_at", pa.array([0, 1], pa.timestamp("s", "Europe/Berlin")), [f"{MINUTE}00Z", f"{MINUTE}01Z"]),
        ("opened_at", pa.array([0, 1500], pa.timestamp("ms", "UTC")),
            [f"{MINUTE}00.000000Z", f"{MINUTE}01.500000Z"]),
        ("opened_at", pa.array([0, 60], pa.timestamp("ns")), [f"{MINUTE}00.000000"] * 2),
        ("closed_at", pa.array([0, None], pa.date32()), ["1970-01-01", None]),
        ("required_skills", pa.array([["sql", "python"], []]), ["sql|python", ""]),
        ("required_skills", pa.array([["sql", None], None]), ["sql", None]),
        ("remote", pa.array([True, None]), ["true", None]),
    ],
)  # fmt: skip
def test_parquet_types_become_the_text_of_the_contract(column, values, texts):
    rows, lines = read(parquet(**{column: values}), "x.parquet")
    assert rows[column].to_pylist() == texts
    assert rows.schema.field(column).type == pa.string()
    assert lines.to_pylist() == [1, 2]


def test_parquet_days_stored_as_times_become_dates():
    written = io.BytesIO()
    columns = {
        "review_id": ["V1"],
        "employee_id": ["E1"],
        "period_end": pa.array([86_400], pa.timestamp("s")),
        "rating": [4.0],
    }
    pyarrow.parquet.write_table(pa.table(columns), written)
    rows, _ = files.read(written.getvalue(), "x.parquet", contract.load()["hris.reviews"], FileTable())
    assert rows.to_pylist() == [
        {"review_id": "V1", "employee_id": "E1", "period_end": "1970-01-02", "rating": "4"}
    ]


def test_parquet_without_a_text_form_is_refused():
    assert "column title holds struct" in refusal(parquet(title=pa.array([{"a": 1}, {"a": 2}])), "x.parquet")
    told = refusal(parquet(title=pa.array(["ok", "a\0"])), "x.parquet")
    assert told == "line 2, column title holds a zero byte; take it out"
