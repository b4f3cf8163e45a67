"""A proposal finds tables and columns again however they are called, asks what is open, and names nobody."""

import csv
import random
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from hrloop import adopt
from hrloop.adopt import evidence
from hrloop.settings import Settings
from hrloop.sources import contract, declaration
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

TABLES = contract.load()
STYLES = (str, str.upper, str.lower, lambda name: name.replace(" ", "_"), lambda name: name.replace(" ", "-"))
FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%d %b %Y")


def write(path: Path, rows: list[dict], delimiter: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def declared(text: str, folder: Path) -> declaration.Declaration:
    path = folder / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return declaration.load(Settings(home=folder, sources=path))


def value_of(table: contract.Table, name: str, number: int, form: str, rng: random.Random) -> str:
    """A value such as a column of the contract holds; days in the format, words as others write them."""
    column = table.columns[name]
    day = date(2020 + number % 4, 1 + number % 12, 13 + number % 15)
    if column.type == "timestamp":
        return f"{day}T09:00:00Z"
    if column.type == "date":
        return day.strftime(form)
    if known := evidence.known_values(table, name):
        return rng.choice(sorted(known))
    if name == "birth_year":
        return str(1960 + number % 40)
    if column.type in ("number", "integer"):
        return str(number % 5 + 1)
    if name == "email":
        return f"person{number}@example.org"
    if name == "name":
        return f"Person {number}"
    if column.type == "list":
        return "sql|excel"
    return f"{name[:2].upper()}{number}" if name.endswith("_id") else f"{name} {number % 7}"


def respelt(table: contract.Table, rng: random.Random) -> dict[str, str]:
    """Each column of a table under some other word for it, in some style; no two under one."""
    while True:
        names = {
            name: rng.choice(STYLES)(rng.choice(evidence.words_of_column(table, name)))
            for name in table.columns
        }
        if len({evidence.fold(name) for name in names.values()}) == len(names):
            return names


@profile(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_tables_that_are_renamed_and_respelt_are_found_again(seed, tmp_path_factory):
    rng, folder = random.Random(seed), tmp_path_factory.mktemp("renamed")  # noqa: S311 - not for secrets
    expected, formats = {}, {}
    for full_name, table in TABLES.items():
        names, form = respelt(table, rng), rng.choice(FORMATS)
        columns = rng.sample(list(names), len(names))
        rows = [
            {names[name]: value_of(table, name, number, form, rng) for name in columns}
            for number in range(30)
        ]
        title = rng.choice(evidence.words()["tables"][full_name]).replace("/", " ")
        write(folder / "exports" / f"{title} 2024.csv", rows, rng.choice(",;\t"))
        expected[full_name] = {names[name]: name for name in names if names[name] != name}
        formats[full_name] = form

    proposal = adopt.of_folder(folder / "exports", folder)
    ours = declared(proposal.text, folder)
    for full_name, table in TABLES.items():
        found = ours.table(full_name)
        assert found.rename == expected[full_name], full_name
        iso = formats[full_name] == "%Y-%m-%d"
        days = [name for name, column in table.columns.items() if column.type == "date"]
        assert found.dates == ({} if iso else dict.fromkeys(days, formats[full_name]))
        for name, words in found.values.items():
            known = evidence.known_values(table, name)
            assert all(known[evidence.fold(old)] == new for old, new in words.items())
    assert proposal.questions == []


STAFF = {"Personal-Nr": "P1", "Name": "Erika Mustermann", "E-Mail": "erika@example.org",
         "Eintrittsdatum": "13.01.2020", "Abteilung": "Technik", "Berufsfamilie": "data",
         "Entgeltgruppe": "E3", "Vorgesetzter": "P9"}  # fmt: skip


def staff(**changes) -> list[dict]:
    return [STAFF | {"Personal-Nr": f"P{number}"} | changes for number in range(20)]


def test_snapshots_take_their_day_from_the_name_of_the_file(tmp_path):
    for day in ("31.12.2022", "31.12.2023"):
        write(tmp_path / "hr" / f"Mitarbeiter {day}.csv", staff(), ";", "cp1252")
    ours = declared(adopt.of_folder(tmp_path / "hr", tmp_path).text, tmp_path)
    table = ours.table("hris.employees")
    assert table.files == ("Mitarbeiter *.*.*.csv",)
    assert (table.delimiter, table.fill["valid_from"].file_name) == (";", r"(\d{2}\.\d{2}\.\d{4})")
    assert table.dates == {"hired_on": "%d.%m.%Y", "valid_from": "%d.%m.%Y"}
    assert table.fill["updated_at"].column == "valid_from"  # its day is no day of arrival in ISO 8601


@pytest.mark.parametrize(("days", "filled"), [(["2022-12-31", "2023-12-31"], True), (["2022-12-31"], False)])
def test_rows_that_recur_are_snapshots(tmp_path, days, filled):
    rows = [row | {"Stichtag": day} for day in days for row in staff()]
    write(tmp_path / "hr" / "Mitarbeiter.csv", rows)
    ours = declared(adopt.of_folder(tmp_path / "hr", tmp_path).text, tmp_path)
    assert ("updated_at" in ours.table("hris.employees").fill) is filled


def test_scattered_changes_are_no_snapshots():
    people = [f"E{number % 30}" for number in range(60)]
    days = [date(2020 + number // 30, 1 + number % 12, 1 + number % 28) for number in range(60)]
    assert not evidence.is_snapshots(people, days)
    assert evidence.is_snapshots(people, [day.year for day in days])


def test_what_cannot_be_told_is_asked_and_left_out(tmp_path):
    rows = [
        {"emp no": f"E{n}", "exit date": f"0{n % 9 + 1}/0{n % 7 + 1}/2023", "exit type": kind}
        for n, kind in enumerate(["resigned", "redundancy", "moved abroad"] * 8)
    ]
    write(tmp_path / "hr" / "leavers.csv", rows)
    write(tmp_path / "hr" / "lunch.csv", [{"dish": "soup", "price": "4.50"}])
    write(tmp_path / "hr" / "reviews.csv", [{"emp no": "E1", "review date": "2023-12-31"}])
    (tmp_path / "hr" / "jobs.csv").write_text("a,b\n1\n")
    proposal = adopt.of_folder(tmp_path / "hr", tmp_path)
    asked = "\n".join(proposal.questions)
    assert "jobs.csv: line 2 has 1 columns where the header has 2" in asked
    assert "lunch.csv: like no table of the contract" in asked
    assert "terminations.dates.terminated_on: or is it %m/%d/%Y?" in asked
    assert "what does 'moved abroad' mean, in 8 rows?" in asked
    assert "reviews.absent: which columns are rating? Name them under rename" in asked
    table = declared(proposal.text, tmp_path).table("hris.terminations")
    assert table.dates == {}
    assert table.values == {"kind": {"resigned": "voluntary", "redundancy": "layoff"}}


def test_local_times_ask_for_their_zone(tmp_path):
    rows = [
        {"application id": f"A{n}", "candidate id": f"C{n}", "requisition id": "R1", "applied at": moment}
        for n, moment in enumerate(["2024-01-05T09:00:00", "2024-01-06T09:00:00Z"])
    ]
    write(tmp_path / "hr" / "applications.csv", rows)
    proposal = adopt.of_folder(tmp_path / "hr", tmp_path)
    assert any("which zone are the times of applications.applied_at of?" in q for q in proposal.questions)
    assert declared(proposal.text, tmp_path).systems["ats"].time_zone is None


def test_no_person_stands_in_a_proposal(tmp_path):
    rows = staff(**{"Austrittsdatum": "", "Austrittsgrund": ""})
    for number, reason in enumerate(
        ["hat sich mit Frau Mustermann gestritten und ist danach nicht wiedergekommen"] * 3
    ):
        rows[number] |= {"Austrittsdatum": f"1{number}.02.2023", "Austrittsgrund": reason}
    write(tmp_path / "hr" / "Mitarbeiter_2023-12-31.csv", rows)
    proposal = adopt.of_folder(tmp_path / "hr", tmp_path)
    for told in ("Mustermann", "erika", "P1\n", "'P1'", "gestritten"):
        assert told not in proposal.text
    assert any("which column says the kind? This one has 1 unknown texts" in q for q in proposal.questions)


def test_who_left_is_read_from_the_employees_own_table(tmp_path):
    rows = staff(**{"Austrittsdatum": "", "Austrittsgrund": ""})
    rows[3] |= {"Austrittsdatum": "15.02.2023", "Austrittsgrund": "Eigenkündigung"}
    write(tmp_path / "hr" / "Mitarbeiter_2023-12-31.csv", rows)
    ours = declared(adopt.of_folder(tmp_path / "hr", tmp_path).text, tmp_path)
    table = ours.table("hris.terminations")
    assert table.files == ours.table("hris.employees").files
    assert table.only_with == ("terminated_on",)
    assert table.values == {"kind": {"eigenkündigung": "voluntary"}}


def test_a_database_is_proposed_from_its_tables(tmp_path):
    url = f"sqlite:///{tmp_path / 'hr.db'}"
    engine = sa.create_engine(url)
    reviews = sa.Table(
        "appraisals", sa.MetaData(), sa.Column("staff_no", sa.String), sa.Column("review_date", sa.Date),
        sa.Column("overall_rating", sa.Float), sa.Column("last_changed", sa.DateTime),
    )  # fmt: skip
    reviews.metadata.create_all(engine)
    with engine.begin() as connection:
        moment = sa.func.datetime("2024-01-05 09:00:00")
        connection.execute(
            reviews.insert().from_select(
                list(reviews.c.keys()),
                sa.select(sa.literal("E1"), sa.literal("2023-12-31"), sa.literal(4.0), moment),
            )
        )
    proposal = adopt.of_database(url)
    ours = declared(proposal.text, tmp_path)
    table = ours.table("hris.reviews")
    assert table.table == "appraisals"
    assert table.rename["last_changed"] == "updated_at"
    assert table.fill["review_id"].hash_of == ("employee_id", "period_end")
    with pytest.raises(ValueError, match="the URL holds a password; write the whole URL to a secret"):
        adopt.of_database("postgresql://u:p@h/d")


def test_a_folder_without_exports_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        adopt.of_folder(tmp_path / "gone", tmp_path)
    write(tmp_path / "hr" / "staff.csv.part", staff())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "staff.csv").write_text("")
    assert "staff.csv: empty: not even a header" in adopt.of_folder(tmp_path / "bad", tmp_path).questions[0]
    with pytest.raises(FileNotFoundError, match=r"holds no \.csv, \.csv\.gz, \.parquet file"):
        adopt.of_folder(tmp_path / "hr", tmp_path)
