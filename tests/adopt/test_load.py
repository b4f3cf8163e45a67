"""Check and load: errors are told by file, line and remedy, and nothing is half-loaded."""

from pathlib import Path

import pytest
from hrloop.adopt import readiness
from hrloop.settings import PROJECT
from hrloop.sources import ensure_tables
from sqlalchemy import text

AS_OF = "2024-07-01T06:00:00Z"
STAFF = "hris.employees: Mitarbeiter_2021-12-31.csv"


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content, old
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def databases(warehouse) -> set[str]:
    with warehouse.engine("admin").connect() as connection:
        return set(connection.scalars(text("select datname from pg_database")))


def told(report: dict) -> list[str]:
    return [f"{p['table']}: {p['file']}: {p['lines']}: {p['says']}" for p in report["problems"]]


def test_each_error_is_told_by_file_and_line_and_nothing_is_loaded(run, warehouse, example, everything):
    exports = example / "exports"
    ensure_tables(warehouse)
    before, there = everything(), databases(warehouse)
    # A missing column, a key that is there twice, days and numbers that are none, mixed time zones.
    edit(exports / "Austritte_2024-06-30.csv", "Austrittsdatum", "Ende der Fahnenstange")
    staff = exports / "Mitarbeiter_2021-12-31.csv"
    lines = staff.read_text(encoding="utf-8").splitlines()
    last = lines[3].split(";")
    last[4], last[10] = "31.02.2019", "viel"
    staff.write_text("\n".join([*lines[:3], ";".join(last), *lines[4:], lines[1]]) + "\n", encoding="utf-8")
    (exports / "Zeiten_2024-06-30.csv").write_text(
        "Personal-Nr,Monat,updated_at\n"
        "P1001,2024-05-01,2024-06-01T00:00:00Z\nP1002,2024-05-01,2024-06-01 09:00\n"
    )
    edit(example / "sources.yaml", "    time_zone: Europe/Berlin", "    # time_zone: none")
    edit(
        example / "sources.yaml",
        "      terminations:",
        "      work_months:\n        files: [Zeiten_*.csv]\n"
        "        rename: {Personal-Nr: employee_id, Monat: month}\n      terminations:",
    )
    edit(example / "sources.yaml", "          updated_at: {column: terminated_on}", "          # none")
    edit(example / "sources.yaml", "          updated_at: {column: period_end}", "          # none")
    edit(example / "sources.yaml", "        fill:\n          # none", "        # none")

    refused = run("adopt", "load", example / "sources.yaml", "--as-of", AS_OF)
    assert refused.exit_code == 1
    assert "Nothing was loaded" in refused.output
    assert everything() == before
    assert databases(warehouse) == there
    problems = [line for line in refused.output.splitlines() if line.startswith("- hris.")]
    for start, remedy in [
        (
            "hris.terminations: Austritte_2024-06-30.csv: required column terminated_on (declared as"
            " 'Austrittsdatum') is missing",
            "map the source's own name to it under rename",
        ),
        (f"{STAFF}, line 4: column hired_on: it is no date", "declare its format under dates"),
        (f"{STAFF}, line 4: column monthly_salary: it is no number", "under decimal or values"),
        (f"{STAFF}, line 2: another row with the same key", "keep one row of a key"),
        (
            "hris.work_months: Zeiten_2024-06-30.csv: line 3, column updated_at: '2024-06-01 09:00' has no",
            "or declare time_zone for hris",
        ),
    ]:
        assert any(problem.startswith(f"- {start}") and remedy in problem for problem in problems), start
    assert "Muster" not in refused.output

    forced = run("adopt", "load", example / "sources.yaml", "--as-of", AS_OF, "--force")
    assert forced.exit_code == 0, forced.output
    held = warehouse.read("loader", "select rules from quarantine.hris__employees").to_pylist()
    assert sorted(sorted(row["rules"]) for row in held) == [
        ["duplicate_key"], ["impossible_hired_on", "unreadable_monthly_salary"],
    ]  # fmt: skip


def test_data_that_will_not_do_are_not_loaded_unless_forced(check, warehouse, example, everything):
    ensure_tables(warehouse)
    before = everything()
    for file in [*(example / "exports").glob("Austritte*"), *(example / "exports").glob("Beurteilungen*")]:
        file.unlink()
    report = check(example / "sources.yaml", AS_OF)
    assert report["exit"] == 1
    assert report["readiness"]["verdict"].startswith("Data quality first: ")
    answers = {answer["question"]: answer for answer in report["readiness"]["answers"]}
    assert answers["reviews"]["answer"] == "no"
    assert (
        "29 people are missing from the last snapshot and have no termination" in answers["leavers"]["detail"]
    )
    assert "nothing in" in told(report)[0]
    assert everything() == before


def test_a_declaration_whose_folder_is_gone_is_told(check, example):
    edit(example / "sources.yaml", "folder: exports", "folder: gone")
    with pytest.raises(ValueError, match=r"systems\.hris\.folder: there is no folder"):
        check(example / "sources.yaml", AS_OF)


def test_a_proposal_is_not_written_over_a_declaration(run, example):
    (example / "mine.yaml").write_text("mine")
    refused = run("adopt", "propose", example / "exports", "--to", example / "mine.yaml")
    assert isinstance(refused.exception, FileExistsError)
    assert (example / "mine.yaml").read_text() == "mine"


def test_limits_answer_yes_partly_and_no_at_their_edges():
    limits = readiness.load(PROJECT).questions.rows
    figures = (limits.yes_from, limits.yes_from - 0.01, limits.partly_from, limits.partly_from - 0.01)
    assert [limits.verdict(figure) for figure in figures] == ["yes", "partly", "partly", "no"]
