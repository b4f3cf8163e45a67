"""A source's own words, dates and numbers become the contract's, and what is not declared stays as it was."""

import hashlib
import hmac
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hrloop.sources import contract
from hrloop.sources.contract import Refusal
from hrloop.sources.declaration import FileTable
from hrloop.sources.translate import translate
from hypothesis import given
from hypothesis import strategies as st

KEY = "practice makes perfect"
TABLES = contract.load()


def translated(table: str, records: list[dict], file_name: str = "x.csv", **source):
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = pa.table({name: pa.array([r.get(name) for r in records], pa.string()) for name in names})
    lines = pa.array(np.arange(2, len(records) + 2))
    rows, lines = translate(
        TABLES[table], rows, lines, FileTable(**source), file_name=file_name, pseudonym_key=KEY
    )
    return rows.to_pylist(), lines.to_pylist()


def one(table: str, column: str, value: str | None, **source) -> str | None:
    return translated(table, [{column: value}], **source)[0][0][column]


days = st.dates(date(1950, 1, 1), date(2060, 1, 1))


@given(days, st.sampled_from(["%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d %B %Y", "%d-%b-%Y"]))
def test_a_day_comes_back_from_any_format(day, form):
    assert one("hris.employees", "hired_on", day.strftime(form), dates={"hired_on": form}) == day.isoformat()


@given(days, st.times())
def test_a_moment_keeps_its_time_of_day_and_stays_local(day, at):
    moment = datetime.combine(day, time(at.hour, at.minute))
    written = moment.strftime("%d.%m.%Y %H:%M")
    read = one("ats.applications", "applied_at", written, dates={"applied_at": "%d.%m.%Y %H:%M"})
    assert read == moment.isoformat()


@pytest.mark.parametrize("value", ["31.02.2024", "2024-01-31", "soon", "", None])
def test_what_is_not_in_the_format_stays_for_the_gate_to_see(value):
    assert one("hris.employees", "hired_on", value, dates={"hired_on": "%d.%m.%Y"}) == value


def test_a_month_is_its_first_day_and_a_day_of_birth_its_year():
    assert one("hris.work_months", "month", "03.2024", dates={"month": "%m.%Y"}) == "2024-03-01"
    assert one("hris.employees", "birth_year", "05.03.1980", dates={"birth_year": "%d.%m.%Y"}) == "1980"


@given(
    st.decimals(min_value=0, max_value=10**9, places=2),
    st.sampled_from([(",", "."), (",", " "), (",", "\u00a0"), (".", ","), (".", "’"), (",", ""), (".", "")]),
)
def test_a_number_comes_back_from_any_grouping(number, signs):
    decimal, group = signs
    written = f"{number:,.2f}".replace(",", "_").replace(".", decimal).replace("_", group)
    read = one("hris.employees", "monthly_salary", written, decimal=decimal)
    assert Decimal(read) == number


@pytest.mark.parametrize(
    ("written", "read"),
    [("0.875", "0.875"), ("1.234", "1234"), ("12,5", "12.5"), ("-3,5", "-3.5"), ("12 kr", "12 kr"), ("", "")],
)
def test_a_decimal_comma_leaves_alone_what_is_no_such_number(written, read):
    assert one("hris.employees", "fte", written, decimal=",") == read


def test_words_are_looked_up_in_any_case_and_others_stay():
    words = {"kind": {"Eigenkündigung": "voluntary", "V": "voluntary", 3: "layoff"}}
    rows, _ = translated(
        "hris.terminations",
        [{"kind": value} for value in (" EIGENKÜNDIGUNG", "v", "3", "Rente", None)],
        values=words,
    )
    assert [row["kind"] for row in rows] == ["voluntary", "voluntary", "layoff", "Rente", None]


def test_a_list_gets_the_separator_of_the_contract():
    assert one("ats.applications", "skills", "SQL, Excel ,,R", lists={"skills": ","}) == "SQL|Excel|R"


def test_rows_of_another_table_are_left_out_with_their_lines():
    records = [
        {"employee_id": "E1", "terminated_on": day} for day in ("2024-01-01", "", None, "NaN", "2024-02-02")
    ]
    rows, lines = translated("hris.terminations", records, only_with=["terminated_on"])
    assert [row["terminated_on"] for row in rows] == ["2024-01-01", "2024-02-02"]
    assert lines == [2, 6]


def test_a_missing_value_is_filled_and_one_that_is_there_stays():
    rows, _ = translated(
        "hris.employees",
        [
            {"employee_id": "E1"},
            {"employee_id": "E2", "valid_from": "01.02.2023", "updated_at": "2023-03-01"},
        ],
        "staff/2022.12.31.csv",
        fill={"valid_from": {"file_name": r"(\d{4}\.\d{2}\.\d{2})"}, "updated_at": {"column": "valid_from"}},
        dates={"valid_from": "%Y.%m.%d"},
    )
    assert [(row["valid_from"], row["updated_at"]) for row in rows] == [
        ("2022-12-31", "2022-12-31"),
        ("01.02.2023", "2023-03-01"),
    ]


def test_a_file_whose_name_does_not_say_it_is_refused():
    with pytest.raises(Refusal, match=r"its name does not match .* from which valid_from is filled; rename"):
        translated("hris.employees", [{}], "staff.csv", fill={"valid_from": {"file_name": r"(\d{4})"}})


def test_a_key_made_of_columns_is_keyed_and_missing_where_a_part_is():
    rows, _ = translated(
        "hris.reviews",
        [{"employee_id": "E1", "period_end": "2023-12-31"}, {"employee_id": "E1", "period_end": " "}],
        fill={"review_id": {"hash_of": ["employee_id", "period_end"]}},
    )
    secret = hmac.new(KEY.encode(), b"E1\x1f2023-12-31", hashlib.sha256).hexdigest()[:32]
    assert [row["review_id"] for row in rows] == [secret, None]


def test_nothing_declared_nothing_done():
    records = [{"employee_id": " E1 ", "hired_on": "01.02.2024", "other": "1,5"}]
    assert translated("hris.employees", records) == (records, [2])
