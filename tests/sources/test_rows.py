"""From delivered rows to rows of raw: pseudonyms, times, and which rows are held back."""

import hashlib
import hmac
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hrloop.sources import contract
from hrloop.sources.contract import Refusal
from hrloop.sources.declaration import TableSource
from hrloop.sources.rows import as_text, known_at, moments_of, name_columns, prepare, pseudonyms, text_of
from hypothesis import given
from hypothesis import strategies as st

KEY = "practice makes perfect"
ARRIVED = datetime(2024, 2, 1, 0, 30, tzinfo=UTC)
TABLES = contract.load()


def text_rows(records: list[dict]) -> pa.Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table({name: pa.array([r.get(name) for r in records], pa.string()) for name in names})


def ready(table: str, records: list[dict], **options):
    rows = text_rows(records)
    lines = pa.array(np.arange(2, rows.num_rows + 2))
    return prepare(
        TABLES[table], rows, lines, batch_id="b" * 16, arrived_at=ARRIVED, pseudonym_key=KEY, **options
    )


def application(application_id: str | None = "A1", **changes) -> dict:
    row = {
        "application_id": application_id,
        "candidate_id": "C1",
        "requisition_id": "R1",
        "applied_at": "2024-01-10T08:00:00Z",
        "updated_at": "2024-01-11T08:00:00Z",
    }
    return row | changes


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20), st.text(min_size=1, max_size=99)
)
def test_a_pseudonym_is_the_hmac_of_the_value(values, key):
    texts = pa.array(values, pa.string())
    expected = [
        None
        if value == "" or value.lower() == "nan"
        else hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:32]
        for value in values
    ]
    assert pseudonyms(texts, key).to_pylist() == expected


def test_a_person_has_one_pseudonym_in_every_column():
    employees = ready(
        "hris.employees",
        [
            {"employee_id": " E7", "valid_from": "2024-01-01", "hired_on": "2024-01-01", "manager_id": "E9"},
            {"employee_id": "E9 ", "valid_from": "2024-01-01", "hired_on": "2020-01-01", "manager_id": "NaN"},
        ],
    ).rows
    assert employees["employee_id"].to_pylist() == ["E7", "E9"]
    assert employees["manager_key"].to_pylist() == [employees["employee_key"][1].as_py(), None]
    assert "candidate_key" not in employees.column_names


moments = st.datetimes(
    datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2200-01-01"), timezones=st.just(UTC)
)


@given(st.lists(st.none() | moments, min_size=1), moments, st.none() | moments)
def test_rows_are_known_at_their_update_but_not_before_they_arrived(updates, arrived, history_until):
    known = known_at(
        pa.chunked_array([pa.array(updates, pa.timestamp("us", "UTC"))]), arrived, history_until
    ).to_pylist()
    for update, moment in zip(updates, known, strict=True):
        if update is None:
            assert moment == arrived
        elif history_until is not None and update < history_until:
            assert moment == update
        else:
            assert moment == max(update, arrived)


offsets = st.sampled_from(["Z", "+00:00", "+01:00", "-0530", "+14"])


@given(st.lists(st.tuples(moments, offsets, st.booleans()), max_size=10), st.sampled_from(["", " ", "soon"]))
def test_iso_times_are_read_whatever_stands_beside_them(given_moments, noise):
    texts, expected = [noise], [None]
    for moment, offset, spaced in given_moments:
        text = moment.replace(tzinfo=None).isoformat(" " if spaced else "T") + offset
        texts.append(text)
        expected.append(datetime.fromisoformat(text).astimezone(UTC))
    assert moments_of(pa.chunked_array([texts]), None).to_pylist() == expected
    if len(texts) > 1:  # without the noise all are read at once
        assert moments_of(pa.chunked_array([texts[1:]]), None).to_pylist() == expected[1:]


@pytest.mark.parametrize(
    "text", ["2024-02-30T10:00:00Z", "01/02/2024 10:00", "20240105T100000Z", "now", "infinity", "2024-13-01"]
)
def test_what_is_no_iso_time_is_no_moment(text):
    assert moments_of(pa.chunked_array([[text]]), None).to_pylist() == [None]


def test_happened_and_known_times_of_rows():
    rows = ready(
        "ats.applications",
        [
            application("A1", updated_at="2024-01-11T08:00:00Z"),
            application("A2", updated_at="2024-02-01T09:00:00+01:00"),
            application("A3", updated_at="", applied_at="2024-02-30T08:00:00Z"),
            application("A4", updated_at="yesterday"),
        ],
    ).rows
    assert rows["_known_at"].to_pylist() == [ARRIVED, datetime(2024, 2, 1, 8, tzinfo=UTC), ARRIVED, ARRIVED]
    assert rows["_happened_at"].to_pylist()[1:3] == [datetime(2024, 1, 10, 8, tzinfo=UTC), None]
    assert set(rows["_arrived_at"].to_pylist()) == {ARRIVED}


def test_a_day_happened_at_its_midnight_in_utc():
    leave = {"employee_id": "E1", "terminated_on": "2024-01-31", "kind": "layoff"}
    rows = ready("hris.terminations", [leave], time_zone="Europe/Berlin").rows
    assert rows["_happened_at"].to_pylist() == [datetime(2024, 1, 31, tzinfo=UTC)]
    assert rows["terminated_on"].to_pylist() == ["2024-01-31"]


@pytest.mark.parametrize("local", ["2024-01-10T08:00:00", "2024-01-10 08:00", "2024-01-10"])
@pytest.mark.parametrize("beside", ["2024-01-11T08:00:00Z", "soon", ""])
def test_a_local_time_is_refused_with_its_line_unless_the_source_has_a_zone(local, beside):
    rows = [application("A1", updated_at=beside), application("A2", updated_at=local)]
    with pytest.raises(Refusal) as error:
        ready("ats.applications", rows)
    assert str(error.value) == (
        f"line 3, column updated_at: {local!r} has no UTC offset; write one (2024-01-31T09:00:00+01:00),"
        " or declare time_zone for ats in the source declaration"
    )
    zoned = ready("ats.applications", rows, time_zone="Europe/Berlin").rows
    hour = "2024-01-09T23" if len(local) == 10 else "2024-01-10T07"
    assert zoned["updated_at"].to_pylist() == [beside, f"{hour}:00:00Z"]


def test_the_hours_of_a_clock_change_have_one_reading():
    twice, never = "2024-10-27T02:30:00", "2024-03-31T02:30:00"
    for texts in ([twice, never], [twice, never, "soon"]):
        read = moments_of(pa.chunked_array([texts]), "Europe/Berlin").to_pylist()
        assert read[:2] == [
            datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
            datetime(2024, 3, 31, 1, 0, tzinfo=UTC),
        ]


def test_of_rows_with_one_key_and_known_time_the_one_updated_last_stays():
    batch = ready(
        "ats.applications",
        [
            application("A1", updated_at="2024-01-12T08:00:00Z", source_channel="stays"),
            application("A1", updated_at="2024-01-11T08:00:00Z"),
            application(" A1 ", updated_at=""),
            application("A1", updated_at="2024-02-02T08:00:00Z", source_channel="known later"),
            application("A2", updated_at=""),
            application("A2", updated_at="", source_channel="last line"),
        ],
    )
    assert batch.rows["source_channel"].to_pylist() == ["stays", "known later", "last line"]
    assert [(held.row, held.rule) for held in batch.held] == [
        (3, "duplicate_key"), (4, "duplicate_key"), (6, "duplicate_key"),
    ]  # fmt: skip
    assert batch.rows_in == 6
    assert batch.held[1].original["application_id"] == " A1 "
    assert batch.held[1].original["skills"] is None


@pytest.mark.parametrize("blank", [None, "", "  ", "\u00a0", "NaN", "nan"])
def test_a_row_without_its_key_is_held(blank):
    month = {"employee_id": "E1", "month": "2024-01-01"}
    batch = ready("hris.work_months", [month, month | {"month": blank}, month | {"employee_id": blank}])
    assert batch.rows.num_rows == 1
    assert [(held.row, held.rule) for held in batch.held] == [(3, "missing_key"), (4, "missing_key")]
    assert batch.held[0].original == dict.fromkeys(TABLES["hris.work_months"].columns) | {
        "employee_id": "E1",
        "month": blank,
    }


def test_a_batch_without_rows_is_still_a_batch():
    rows = pa.table({name: pa.array([], pa.string()) for name in TABLES["ats.applications"].columns})
    batch = prepare(
        TABLES["ats.applications"], rows, pa.array([], pa.int64()),
        batch_id="b", arrived_at=ARRIVED, pseudonym_key=KEY,
    )  # fmt: skip
    assert (batch.rows_in, batch.rows.num_rows, batch.extra_columns) == (0, 0, [])
    assert "candidate_key" in batch.rows.column_names


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_columns_outside_the_contract_become_json(values):
    records = [
        application(f"A{number}") | {'cost "centre"': first, "note": second}
        for number, (first, second) in enumerate(values)
    ]
    batch = ready("ats.applications", records)
    assert batch.extra_columns == ['cost "centre"', "note"]
    for written, (first, second) in zip(batch.rows["_extra"].to_pylist(), values, strict=True):
        assert written[0] == "\x01"  # the version of jsonb's binary form
        assert json.loads(written[1:]) == {'cost "centre"': first, "note": second}


@given(st.permutations(range(6)))
def test_what_stays_does_not_depend_on_how_rows_are_chunked(order):
    records = [application(f"A{number % 3}", updated_at=f"2024-01-1{number}T08:00:00Z") for number in order]
    rows = text_rows(records)
    lines = pa.array(np.arange(2, 8))
    chunked = pa.concat_tables([rows.slice(0, 1), rows.slice(1, 4), rows.slice(5)])
    options = {"batch_id": "b", "arrived_at": ARRIVED, "pseudonym_key": KEY}
    whole, parts = (prepare(TABLES["ats.applications"], each, lines, **options) for each in (rows, chunked))
    assert whole.rows.equals(parts.rows)
    assert whole.held == parts.held
    assert set(whole.rows["updated_at"].to_pylist()) == {
        f"2024-01-1{number}T08:00:00Z" for number in (3, 4, 5)
    }


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (datetime(2024, 1, 31, 9, tzinfo=UTC) - timedelta(hours=1), "timestamp", "2024-01-31T08:00:00Z"),
        (datetime.fromisoformat("2024-01-31T09:00:00"), "timestamp", "2024-01-31T09:00:00"),
        (date(2024, 1, 31), "date", "2024-01-31"),
        (True, "boolean", "true"),
        (4.0, "number", "4"),
        (4.5, "number", "4.5"),
        (7, "integer", "7"),
        (Decimal("12.50"), "number", "12.50"),
        (["sql", "python"], "list", "sql|python"),
        ("as it is ", "text", "as it is "),
        (None, "text", None),
    ],
)
def test_values_of_databases_and_files_have_one_text(value, kind, text):
    assert text_of(value) == text
    column = pa.chunked_array([pa.array([value])])
    if isinstance(value, datetime):
        column = column.cast(pa.timestamp("s", column.type.tz))
    assert as_text(column, kind, "x").to_pylist() == [text]


def test_json_of_an_api_is_kept_as_json():
    assert text_of({"b": 1, "a": [True]}) == '{"a": [true], "b": 1}'


def test_names_columns_by_the_contract():
    table = TABLES["hris.terminations"]
    source = TableSource(rename={"Nr": "employee_id"})
    assert name_columns(table, ["Nr ", "terminated_on", "kind", "x"], source) == [
        "employee_id", "terminated_on", "kind", "x",
    ]  # fmt: skip
    with pytest.raises(Refusal, match="column employee_id is there more than once"):
        name_columns(table, ["Nr", "employee_id", "terminated_on", "kind"], source)
