"""The source declaration: its defaults, what it refuses, and when a file arrives."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hrloop import as_of
from hrloop.settings import Settings
from hrloop.sources import Refusal, declaration
from hrloop.sources.declaration import DeclarationError, FilesSource

MODIFIED = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)


def declared(tmp_path: Path, text: str):
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    return declaration.load(Settings(home=tmp_path, sources=path))


def test_the_default_is_the_practice_company(tmp_path):
    default = declaration.load(Settings(home=tmp_path, sources=None))
    assert set(default.systems) == {"ats", "hris"}
    assert default.systems["ats"].arrival("2024-02-01-corrected.csv.gz", MODIFIED) == as_of.parse(
        "2024-02-01T00:30:00Z"
    )
    assert default.absent("ats.applications") == frozenset()


def test_tells_what_a_company_does_not_have(tmp_path):
    ours = declared(
        tmp_path,
        "systems: {ats: {kind: files,"
        " tables: {applications: {absent: [skills], rename: {Nr: application_id}}}}}",
    )
    assert ours.absent("ats.applications") == {"skills"}
    assert ours.table("ats.applications").rename == {"Nr": "application_id"}
    assert ours.absent("ats.requisitions") == frozenset()


@pytest.mark.parametrize(
    ("pattern", "zone", "name", "arrival"),
    [
        (r"(\d{4}-\d{2}-\d{2})", None, "2024-02-01.csv", "2024-02-01T06:00:00Z"),
        (r"(\d{4}-\d{2}-\d{2})", "Europe/Berlin", "2024-07-01.csv", "2024-07-01T04:00:00Z"),
        (r"_(\S+)\.csv", None, "export_2024-02-01T0930Z.csv", "2024-02-01T09:30:00Z"),
        (r"_(\S+)\.csv", "Europe/Berlin", "export_2024-02-01T0930.csv", "2024-02-01T08:30:00Z"),
        (r"(\d{4}-\d{2}-\d{2})", None, "export.csv", "2024-05-06T07:08:00Z"),
        (None, None, "2024-02-01.csv", "2024-05-06T07:08:00Z"),
    ],
)
def test_reads_the_arrival_from_the_name_else_from_the_file(pattern, zone, name, arrival):
    source = FilesSource(kind="files", arrival_from_name=pattern, arrival_time="06:00", time_zone=zone)
    assert source.arrival(name, MODIFIED) == as_of.parse(arrival)


def test_refuses_a_name_with_an_impossible_date():
    source = FilesSource(kind="files", arrival_from_name=r"(\d{4}-\d{2}-\d{2})")
    with pytest.raises(Refusal, match="'2024-02-30' in its name is no ISO date; rename"):
        source.arrival("2024-02-30.csv", MODIFIED)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("systems: {crm: {kind: files}}", "systems.crm is not in the contract, which has ats, hris"),
        ("systems: {ats: {kind: ftp}}", "systems.ats"),
        ("systems: {ats: {kind: files, tables: {leads: {}}}}", "systems.ats.tables.leads is not in"),
        (
            "systems: {ats: {kind: files, tables: {applications: {absent: [salary]}}}}",
            "systems.ats.tables.applications.absent: salary is not in the contract",
        ),
        (
            "systems: {ats: {kind: files, tables: {applications: {absent: [candidate_id]}}}}",
            "candidate_id is required and cannot be absent",
        ),
        (
            "systems: {ats: {kind: files, tables: {applications: {rename: {a: b}}}}}",
            "systems.ats.tables.applications.rename: b is not in the contract",
        ),
        (
            "systems: {ats: {kind: files, tables: {applications: {rename: {a: skills, b: skills}}}}}",
            "two columns become the same one",
        ),
        ("systems: {ats: {kind: files, time_zone: CEST}}", "'CEST' is no IANA time zone"),
        ("systems: {ats: {kind: files, arrival_time: 12:30}}", "put the time in quotes"),
        ("systems: {ats: {kind: files, arrival_from_name: '2024'}}", "must have one group"),
        ("systems: {ats: {kind: files, history_until: 2024-01-01}}", "history_until"),
        ("systems: {ats: {kind: files, timezone: UTC}}", "systems.ats.files.timezone"),
        (
            "systems: {ats: {kind: sql, url: 'postgresql://u:p@h/d', tables: {feedback: {table: f}}}}",
            "url holds a password",
        ),
        ("systems: {ats: {kind: sql, url: 'sqlite://', tables: {feedback: {}}}}", "either table or query"),
        ("systems: {ats: {kind: sql, tables: {feedback: {table: f}}}}", "either url, or secret"),
        ("systems: [", "not readable as YAML"),
        (
            "systems: {hris: {kind: files, tables: {reviews: {values: {stars: {a: 1}}}}}}",
            "systems.hris.tables.reviews.values: stars is not in the contract",
        ),
        (
            "systems: {hris: {kind: files, tables: {reviews: {values: {rating: {yes: 5}}}}}}",
            "put the words yes, no, on, off, true and false in quotes",
        ),
        ("systems: {hris: {kind: files, tables: {reviews: {dates: {period_end: '%d.%m'}}}}}", "has no year"),
        (
            "systems: {hris: {kind: files, tables: {reviews: {fill: {review_id: {hash_of: [reviewer]}}}}}}",
            "systems.hris.tables.reviews.fill.review_id: reviewer is not in the contract",
        ),
        (
            "systems: {hris: {kind: files, tables: {reviews: {fill: {review_id: {}}}}}}",
            "give one of file_name, column and hash_of",
        ),
        (
            "systems: {hris: {kind: sql, url: 'sqlite://', tables: {employees: {table: e,"
            " fill: {valid_from: {file_name: '(a)'}}}}}}",
            "sql has no file names; fill from a column",
        ),
        ("systems: {hris: {kind: files, tables: {reviews: {files: ['*.csv']}}}}", "give the folder"),
        ("systems: {hris: {kind: files, tables: {reviews: {encoding: utf-9}}}}", "'utf-9' is no encoding"),
    ],
)
def test_refuses_a_broken_declaration_by_file_and_key(tmp_path, text, told):
    with pytest.raises(DeclarationError) as error:
        declared(tmp_path, text)
    assert "sources.yaml" in str(error.value)
    assert told in str(error.value)


def test_the_declarations_in_the_documentation_are_valid(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = set()
    for example in examples:
        ours = declared(tmp_path, example if example.startswith("systems:") else f"systems:\n{example}")
        kinds |= {source.kind for source in ours.systems.values()}
    assert kinds == {"files", "sql", "rest"}


def test_a_folder_is_seen_from_the_declaration(tmp_path):
    ours = declared(tmp_path, "systems: {hris: {kind: files, folder: ../hr}}")
    assert ours.systems["hris"].folder == tmp_path / "../hr"


def test_a_missing_declaration_is_named(tmp_path):
    with pytest.raises(DeclarationError, match="there is no such file; HRLOOP_SOURCES must name one"):
        declaration.load(Settings(home=tmp_path, sources=tmp_path / "none.yaml"))


def test_a_secret_that_is_not_set_is_named_and_never_made_up(tmp_path, monkeypatch):
    ours = declared(
        tmp_path, "systems: {ats: {kind: sql, secret: ats_url, tables: {feedback: {table: feedback}}}}"
    )
    settings = Settings(home=tmp_path)
    with pytest.raises(DeclarationError, match=r"systems\.ats\.secret: set HRLOOP_SECRET_ATS_URL, or write"):
        ours.systems["ats"].credential(settings, "ats")
    assert not (tmp_path / "secrets").exists()
    monkeypatch.setenv("HRLOOP_SECRET_ATS_URL", "sqlite://")
    assert ours.systems["ats"].credential(settings, "ats") == "sqlite://"
