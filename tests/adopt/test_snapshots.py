"""A company by its snapshots, in whatever style: the warehouse knows the same employments as of any time."""

import os
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import small_company as company
from hrloop import adopt, quality, sources, transform
from hrloop import as_of as moment
from hrloop.warehouse import Warehouse

AS_OF = moment.parse("2024-01-02T06:00:00Z")
HEADER = "PersNr;Eintritt;Abteilung;Jobfamilie;Stufe;Vorgesetzter"
YEARLY = [date(2021, 12, 31), date(2022, 12, 31), date(2023, 12, 31)]
MONTHLY = [date(2023, month, 28) for month in range(1, 13)]
A_FILE_A_DAY, ONE_FILE, WITH_UPDATES = "a file a day", "one file", "one file with updated_at"


def staff(day: date) -> dict[str, date]:
    """First day of each who is there. In July 2023 one in ten gets another; some leave and nobody says so."""
    rng = random.Random(5)  # noqa: S311 - not for secrets
    there = {}
    for number in range(50):
        hired = date(2021, 1, 1) + timedelta(days=rng.randrange(1000))
        left = hired + timedelta(days=rng.randrange(200, 900)) if number % 3 == 0 else date.max
        if hired <= day < left:
            there[f"P{number}"] = hired + timedelta(days=14 * (number % 10 == 0 and day >= date(2023, 7, 1)))
    return there


def known(days: list[date]) -> set[tuple]:
    """(employee, first day, known from, known to) of each employment, as snapshots make them known."""
    versions: dict[str, list] = {}
    for day in days:
        for who, hired in staff(day).items():
            mine = versions.setdefault(who, [])
            if not mine or mine[-1][0] != hired:
                mine.append((hired, datetime(day.year, day.month, day.day, tzinfo=UTC)))
    return {
        (who, hired, since, later)
        for who, mine in versions.items()
        for (hired, since), later in zip(mine, [since for _, since in mine[1:]] + [None], strict=True)
    }


def write(folder: Path, style: str, days: list[date]) -> None:
    """The snapshots, exported on New Year's Day of 2024."""
    folder.mkdir()
    files: dict[str, list[str]] = {}
    for day in days:
        name = f"Mitarbeiter_{day}.csv" if style == A_FILE_A_DAY else "Mitarbeiter.csv"
        stamps = {
            A_FILE_A_DAY: [],
            ONE_FILE: [f"{day:%d.%m.%Y}"],
            WITH_UPDATES: [f"{day}", f"{day}T00:00:00Z"],
        }
        heads = {A_FILE_A_DAY: [], ONE_FILE: ["Stichtag"], WITH_UPDATES: ["Stichtag", "geändert am"]}
        lines = files.setdefault(name, [";".join([HEADER, *heads[style]])])
        lines += [
            ";".join([who, f"{hired:%d.%m.%Y}", "Technik", "data", "E3", "P1", *stamps[style]])
            for who, hired in staff(day).items()
        ]
    exported = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.utime(folder / name, (exported, exported))


def employments(warehouse: Warehouse, folder: Path) -> set[tuple]:
    """What the warehouse knows, built from the declaration that was proposed; UTC where a zone is asked."""
    proposal = adopt.of_folder(folder, folder.parent)
    declaration = folder.parent / "sources.yaml"
    declaration.write_text(proposal.text.replace("# time_zone: '?'", "time_zone: UTC"), encoding="utf-8")
    ours = warehouse.settings.model_copy(update={"sources": declaration})
    report = sources.ingest(warehouse, ours, AS_OF)
    assert (report.refused, report.waiting) == ([], 0)
    assert quality.gate(warehouse, ours, AS_OF).quarantined == 0
    variables = {"as_of": moment.text(AS_OF), **company.DECLARED}
    transform.build(warehouse, ours, variables, select=("+int_employments",))
    keys = warehouse.read("loader", "select distinct employee_id, employee_key from raw.hris__employees")
    names = {row["employee_key"]: row["employee_id"] for row in keys.to_pylist()}
    rows = warehouse.read("engine", "select * from intermediate.int_employments").to_pylist()
    return {(names[r["employee_key"]], r["hired_on"], r["known_from"], r["known_to"]) for r in rows}


@pytest.mark.parametrize(
    ("style", "days"),
    [(A_FILE_A_DAY, YEARLY), (ONE_FILE, MONTHLY), (WITH_UPDATES, MONTHLY)],
    ids=["yearly files", "monthly rows", "monthly rows with updated_at"],
)
def test_each_style_of_snapshot_gives_the_same_employments(warehouse, tmp_path, style, days):
    write(tmp_path / "exports", style, days)
    found, expected = employments(warehouse, tmp_path / "exports"), known(days)
    assert found == expected
    assert any(known_to is not None for *_, known_to in expected)
