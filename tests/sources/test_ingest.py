"""Files into raw: once, whole, in any order, by whoever is killed and starts again."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from adbc_driver_postgresql.dbapi import Connection
from deliveries import HEADER, requisitions
from hrloop import as_of, sources
from hrloop.sources import contract, files
from hrloop.sources.declaration import FileTable
from hrloop.sources.load import Batch, load, original_of
from hrloop.sources.rows import prepare
from hrloop.warehouse.fingerprint import fingerprint
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from sqlalchemy import text

NOW = as_of.parse("2024-03-01T06:00:00Z")
TABLE = contract.load()["ats.requisitions"]
EVERYTHING = ("raw.ats__requisitions", "quarantine.ats__requisitions", "loop.batches")


def rows(wh, sql: str, **values) -> list[dict]:
    with wh.engine("loader").connect() as connection:
        return [dict(found) for found in connection.execute(text(sql), values).mappings()]


def raw(wh, columns: str = "requisition_id, title, _known_at") -> list[tuple]:
    found = rows(wh, f"select {columns} from raw.ats__requisitions order by requisition_id, _known_at")
    return [tuple(row.values()) for row in found]


def batches(wh) -> dict[str, dict]:
    return {row["file_name"]: row for row in rows(wh, "select * from loop.batches")}


def prints(wh) -> list[str]:
    return [fingerprint(wh, table) for table in EVERYTHING]


def row(
    requisition_id: str, title: str, updated_at: str = "", opened_at: str = "2024-01-05T09:00:00Z"
) -> str:
    return f"{requisition_id},engineering,{title},{opened_at},{updated_at}"


def declare(settings, tmp_path: Path, text_: str):
    path = tmp_path / "sources.yaml"
    path.write_text(text_)
    return settings.model_copy(update={"sources": path})


def test_takes_files_of_every_kind_once(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    deliver("ats/requisitions/2024-02-01.csv.gz", requisitions("R2", "R3"))
    columns = dict(zip(HEADER.split(","), row("R4", "Chemist").split(","), strict=True))
    place = deliver("ats/requisitions/2024-02-02.parquet", "")
    pyarrow.parquet.write_table(pa.table({name: [value] for name, value in columns.items()}), place)

    report = sources.ingest(warehouse, settings, NOW)
    assert [(batch.file_name, batch.rows_in) for batch in report.taken] == [
        ("2024-01-01.csv", 1), ("2024-02-01.csv.gz", 2), ("2024-02-02.parquet", 1),
    ]  # fmt: skip
    assert [name for name, *_ in raw(warehouse)] == ["R1", "R2", "R3", "R4"]
    before = prints(warehouse)
    again = sources.ingest(warehouse, settings, NOW)
    assert (again.taken, again.refused, again.waiting) == ([], [], 0)
    assert prints(warehouse) == before


def test_the_same_content_under_another_name_is_the_same_batch(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    deliver("ats/requisitions/2024-01-15.csv", requisitions("R1"))
    assert len(sources.ingest(warehouse, settings, NOW).taken) == 1
    assert list(batches(warehouse)) == ["2024-01-01.csv"]


def test_what_has_not_arrived_waits(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    deliver("ats/requisitions/2024-02-01.csv", requisitions("R2"))
    deliver("ats/requisitions/unnamed.csv", requisitions("R3"), as_of.parse("2024-01-20T10:00:00Z"))
    first = sources.ingest(warehouse, settings, as_of.parse("2024-02-01T00:29:59Z"))
    assert ([batch.file_name for batch in first.taken], first.waiting) == (
        ["2024-01-01.csv", "unnamed.csv"],
        1,
    )
    second = sources.ingest(warehouse, settings, as_of.parse("2024-02-01T00:30:00Z"))
    assert ([batch.file_name for batch in second.taken], second.waiting) == (["2024-02-01.csv"], 0)
    assert raw(warehouse, "_arrived_at")[2] == (as_of.parse("2024-01-20T10:00:00Z"),)


def test_takes_files_from_a_folder_of_the_companys_own(warehouse, settings, tmp_path):
    folder = tmp_path / "exports" / "2024"
    folder.mkdir(parents=True)
    (folder / "Stellen 2024-01-01.csv").write_text(
        "Nr;Familie;title;opened_at\nR1;sales;Seller;05.01.2024 09:00\n", encoding="utf-8"
    )
    (folder / "Stellen 2024-01-02.csv.part").write_text("Nr\n")
    (folder / "Kantine 2024-01-01.csv").write_text("Tag\n")
    ours = declare(
        settings,
        tmp_path,
        r"""
        systems:
          ats:
            kind: files
            folder: exports
            time_zone: Europe/Berlin
            arrival_from_name: '(\d{4}-\d{2}-\d{2})'
            tables:
              requisitions:
                files: ["*/Stellen *"]
                delimiter: ;
                rename: {Nr: requisition_id, Familie: job_family}
                dates: {opened_at: "%d.%m.%Y %H:%M"}
        """,
    )
    report = sources.ingest(warehouse, ours, NOW)
    assert [batch.file_name for batch in report.taken] == ["2024/Stellen 2024-01-01.csv"]
    assert raw(warehouse, "requisition_id, job_family, opened_at") == [
        ("R1", "sales", "2024-01-05T08:00:00Z")
    ]
    assert report.refused == []
    assert sources.ingest(warehouse, ours, NOW).taken == []


def test_a_folder_that_is_not_there_is_told_before_anything_is_taken(warehouse, settings, deliver, tmp_path):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    ours = declare(settings, tmp_path, "systems: {ats: {kind: files}, hris: {kind: files, folder: gone}}")
    with pytest.raises(sources.DeclarationError, match=r"systems\.hris\.folder: there is no folder .*gone"):
        sources.ingest(warehouse, ours, NOW)
    assert batches(warehouse) == {}


def test_files_being_written_are_left_alone(warehouse, settings, deliver):
    for name in ("2024-01-01.csv.part", ".2024-01-01.csv", "_2024-01-01.csv", "2024-01-01.tmp"):
        deliver(f"ats/requisitions/{name}", requisitions("R1"))
    report = sources.ingest(warehouse, settings, NOW)
    assert (report.taken, report.refused) == ([], [])


def test_a_file_that_changes_while_it_is_read_waits(warehouse, settings, deliver, monkeypatch):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    monkeypatch.setattr(files.LandingFile, "is_unchanged", lambda file: False)
    assert sources.ingest(warehouse, settings, NOW).waiting == 1
    monkeypatch.undo()
    assert len(sources.ingest(warehouse, settings, NOW).taken) == 1


def test_corrections_arrive_by_key_and_the_earlier_version_stays_known(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "old", "2023-12-30T09:00:00Z")))
    deliver("ats/requisitions/2024-02-01.csv", requisitions(row("R1", "new", "2024-01-15T09:00:00Z")))
    sources.ingest(warehouse, settings, NOW)
    assert raw(warehouse) == [
        ("R1", "old", as_of.parse("2024-01-01T00:30:00Z")),
        ("R1", "new", as_of.parse("2024-02-01T00:30:00Z")),
    ]


def test_history_was_known_when_it_was_updated(warehouse, settings, deliver, tmp_path):
    ours = declare(
        settings,
        tmp_path,
        r"systems: {ats: {kind: files, history_until: 2024-01-01T00:00:00Z,"
        r" arrival_from_name: '(\d{4}-\d{2}-\d{2})'}}",
    )
    early, late = row("R1", "early", "2021-05-06T09:00:00Z"), row("R2", "late", "2024-01-02T09:00:00Z")
    deliver("ats/requisitions/2024-02-01.csv", requisitions(early, late))
    sources.ingest(warehouse, ours, NOW)
    assert [known for *_, known in raw(warehouse)] == [
        as_of.parse("2021-05-06T09:00:00Z"),
        as_of.parse("2024-02-01T00:00:00Z"),
    ]


def test_the_later_delivery_stays_and_the_other_is_quarantined_whole(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "first"), row("R2", "second")))
    corrected = "requisition_id,job_family,title,opened_at,note\nR1,f,corrected,2024-01-05T09:00:00Z,see 7\n"
    deliver("ats/requisitions/2024-01-01-corrected.csv", corrected)
    sources.ingest(warehouse, settings, NOW)
    assert [(name, title) for name, title, _ in raw(warehouse)] == [("R1", "corrected"), ("R2", "second")]
    held = rows(warehouse, "select * from quarantine.ats__requisitions")
    assert [(h["row_number"], h["rules"], h["quarantined_as_of"]) for h in held] == [
        (2, ["duplicate_key"], as_of.parse("2024-01-01T00:30:00Z"))
    ]
    assert held[0]["original"]["title"] == "first"
    counts = {
        name: (b["rows_in"], b["rows_passed"], b["rows_quarantined"])
        for name, b in batches(warehouse).items()
    }
    assert counts == {"2024-01-01.csv": (2, 1, 1), "2024-01-01-corrected.csv": (1, 1, 0)}


def test_a_file_replaced_under_its_name_arrives_when_it_was_written(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "first")))
    sources.ingest(warehouse, settings, as_of.parse("2024-01-02T06:00:00Z"))
    written = as_of.parse("2024-02-03T10:00:00Z")
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "replaced")), written)
    assert sources.ingest(warehouse, settings, as_of.parse("2024-02-03T09:00:00Z")).waiting == 1
    sources.ingest(warehouse, settings, NOW)
    assert raw(warehouse) == [
        ("R1", "first", as_of.parse("2024-01-01T00:30:00Z")),
        ("R1", "replaced", written),
    ]


def test_rows_that_cannot_be_keyed_are_quarantined_and_no_row_is_lost(warehouse, settings, deliver):
    deliver(
        "ats/requisitions/2024-01-01.csv",
        requisitions(row("R1", "a"), row(" ", "b"), row("R1", "c"), row("R2", "d")),
    )
    report = sources.ingest(warehouse, settings, NOW)
    assert (report.taken[0].rows_in, report.taken[0].rows_quarantined) == (4, 2)
    held = rows(
        warehouse,
        "select row_number, rules, original ->> 'title' as title from quarantine.ats__requisitions"
        " order by row_number",
    )
    assert [tuple(h.values()) for h in held] == [(2, ["duplicate_key"], "a"), (3, ["missing_key"], "b")]
    assert [title for _, title, _ in raw(warehouse)] == ["c", "d"]


def test_a_header_without_rows_is_a_batch_of_none(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions())
    assert sources.ingest(warehouse, settings, NOW).taken[0].rows_in == 0
    assert sources.ingest(warehouse, settings, NOW).taken == []
    assert batches(warehouse)["2024-01-01.csv"]["status"] == "loaded"


def test_columns_outside_the_contract_are_kept_and_reported(warehouse, settings, deliver):
    content = (
        'requisition_id,job_family,title,opened_at,Cost "centre",note\nR1,f,t,2024-01-05T09:00:00Z,4711,é\n'
    )
    deliver("ats/requisitions/2024-01-01.csv", content.replace('Cost "centre"', '"Cost ""centre"""'))
    report = sources.ingest(warehouse, settings, NOW)
    assert report.taken[0].extra_columns == ['Cost "centre"', "note"]
    assert report.summary()["extra_columns"] == ['ats.requisitions.Cost "centre"', "ats.requisitions.note"]
    assert batches(warehouse)["2024-01-01.csv"]["extra_columns"] == ['Cost "centre"', "note"]
    found = rows(
        warehouse,
        """select _extra ->> 'Cost "centre"' as a, _extra ->> 'note' as b from raw.ats__requisitions""",
    )
    assert found == [{"a": "4711", "b": "é"}]


def test_a_broken_file_is_refused_and_the_others_go_on(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions("R1"))
    broken = deliver("ats/requisitions/2024-01-02.csv", requisitions("R2") + "R3,too short\n")
    deliver("ats/requisitions/2024-01-03.csv", requisitions("R4"))
    report = sources.ingest(warehouse, settings, NOW)
    assert [batch.file_name for batch in report.taken] == ["2024-01-01.csv", "2024-01-03.csv"]
    reason = (
        "ats/requisitions/2024-01-02.csv: line 3 has 2 columns where the header has 5;"
        " quote values that hold commas or line breaks (RFC 4180)"
    )
    assert [refused.reason for refused in report.refused] == [reason]
    assert broken.exists()
    entry = batches(warehouse)["2024-01-02.csv"]
    assert (entry["status"], entry["reason"], entry["rows_in"]) == ("refused", reason, 0)

    before = prints(warehouse)
    assert [refused.reason for refused in sources.ingest(warehouse, settings, NOW).refused] == [reason]
    assert prints(warehouse) == before

    deliver("ats/requisitions/2024-01-02.csv", requisitions("R2", "R3"))
    mended = sources.ingest(warehouse, settings, NOW)
    assert ([batch.rows_in for batch in mended.taken], mended.refused) == ([2], [])
    assert sorted(b["status"] for b in rows(warehouse, "select status from loop.batches")) == [
        "loaded", "loaded", "loaded", "superseded",
    ]  # fmt: skip


def test_a_refused_file_is_taken_once_the_declaration_fits(warehouse, settings, deliver, tmp_path):
    deliver("ats/requisitions/2024-07-02.csv", requisitions(row("R1", "t", "2024-07-01 09:00:00")))
    later = as_of.parse("2024-08-01T00:00:00Z")
    refused = sources.ingest(warehouse, settings, later).refused
    assert "line 2, column updated_at: '2024-07-01 09:00:00' has no UTC offset" in refused[0].reason
    zoned = declare(settings, tmp_path, "systems: {ats: {kind: files, time_zone: Europe/Berlin}}")
    assert len(sources.ingest(warehouse, zoned, later).taken) == 1
    assert raw(warehouse, "updated_at") == [("2024-07-01T07:00:00Z",)]
    entry = batches(warehouse)["2024-07-02.csv"]
    assert (entry["status"], entry["reason"], entry["rows_passed"]) == ("loaded", None, 1)


def test_a_refused_file_that_was_removed_stands_no_more_and_may_come_back(warehouse, settings, deliver):
    place = deliver("ats/requisitions/2024-01-01.csv", "requisition_id\nR1\n")
    assert len(sources.ingest(warehouse, settings, NOW).refused) == 1
    place.unlink()
    assert sources.ingest(warehouse, settings, NOW).refused == []
    assert batches(warehouse)["2024-01-01.csv"]["status"] == "superseded"
    deliver("ats/requisitions/2024-01-01.csv", "requisition_id\nR1\n")
    assert len(sources.ingest(warehouse, settings, NOW).refused) == 1
    assert batches(warehouse)["2024-01-01.csv"]["status"] == "refused"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("ats/offers/2024-01-01.csv", "the source contract has no table ats.offers"),
        ("crm/leads/2024-01-01.csv", "the source contract has no table crm.leads"),
        ("hris/reviews/2024-01-01.csv", "the source declaration has no system hris of kind files"),
        ("ats/requisitions/2024-01-01.xlsx", "not a .csv, .csv.gz, .parquet file"),
        ("ats/requisitions/2024-02-31.csv", "'2024-02-31' in its name is no ISO date"),
    ],
)
def test_a_file_in_a_wrong_place_is_refused(warehouse, settings, deliver, tmp_path, path, told):
    ours = declare(
        settings, tmp_path, r"systems: {ats: {kind: files, arrival_from_name: '(\d{4}-\d{2}-\d{2})'}}"
    )
    deliver(path, requisitions("R1"))
    refused = sources.ingest(warehouse, ours, NOW).refused
    assert [path in each.reason and told in each.reason for each in refused] == [True]


def test_the_time_zone_of_the_session_does_not_matter(warehouse, settings, deliver):
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "t", "2024-01-02T00:30:00+01:00")))
    with warehouse.engine("admin").begin() as connection:
        connection.execute(text("alter role loader set timezone = 'America/New_York'"))
    try:
        sources.ingest(warehouse, settings, NOW)
        assert raw(warehouse, "_happened_at, _known_at") == [
            (as_of.parse("2024-01-05T09:00:00Z"), as_of.parse("2024-01-01T23:30:00Z"))
        ]
    finally:
        with warehouse.engine("admin").begin() as connection:
            connection.execute(text("alter role loader reset timezone"))


def deliveries(count: int, seed: int) -> list[tuple[str, str]]:
    """Files that overlap in keys, arrivals and updates, with duplicates and blanks in them."""
    draw = random.Random(seed)  # noqa: S311 - test data
    made = []
    for number in range(count):
        day = draw.randint(1, 3)
        lines = [
            row(
                draw.choice(["R1", "R2", "R3", "R4", ""]),
                f"t{number}.{line}",
                draw.choice(["", "2023-06-01T00:00:00Z", f"2024-01-0{draw.randint(1, 5)}T00:30:00Z"]),
            )
            for line in range(draw.randint(1, 6))
        ]
        made.append((f"2024-01-0{day}-{number}.csv", requisitions(*lines)))
    return made


def emptied(wh) -> None:
    with wh.engine("admin").begin() as connection:
        connection.execute(text("delete from loop.batches"))
        connection.execute(text(f"truncate {TABLE.raw}, {TABLE.quarantine}"))


def load_all(connection: Connection, made: list[tuple[str, str]]) -> None:
    """Load deliveries in the order given, whatever their arrival."""
    for name, content in made:
        data = content.encode()
        sha256 = hashlib.sha256(data).hexdigest()
        arrived = as_of.parse(f"{name[:10]}T00:30:00Z")
        batch = Batch(TABLE, files.batch_id("ats", "requisitions", sha256), name, sha256, arrived)
        prepared = prepare(
            TABLE, *files.read(data, name, TABLE, FileTable()),
            batch_id=batch.batch_id, arrived_at=arrived, pseudonym_key="k",
        )  # fmt: skip
        assert load(connection, batch, prepared) is not None
        assert load(connection, batch, prepared) is None


@pytest.fixture
def loader(warehouse):
    with warehouse.adbc("loader") as connection:
        yield connection


@profile(
    max_examples=10, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(seed=st.integers(0, 10_000), order=st.permutations(range(5)))
def test_what_stands_in_the_end_does_not_depend_on_the_order_of_loading(warehouse, loader, seed, order):
    made = deliveries(5, seed)
    sources.ensure_tables(warehouse)
    found = []
    for sequence in (range(5), order):
        emptied(warehouse)
        load_all(loader, [made[number] for number in sequence])
        found.append(prints(warehouse))
        lost = rows(
            warehouse,
            """select batch_id from loop.batches as b where rows_passed <>
                (select count(*) from raw.ats__requisitions as r where r._batch_id = b.batch_id)
            or rows_quarantined <>
                (select count(*) from quarantine.ats__requisitions as q where q.batch_id = b.batch_id)""",
        )
        assert lost == []
    assert found[0] == found[1]


def test_exports_taken_as_they_come_equal_exports_taken_at_once(warehouse, settings, deliver):
    made = deliveries(5, seed=3)
    for name, content in reversed(made):
        deliver(f"ats/requisitions/{name}", content)
        sources.ingest(warehouse, settings, NOW)
    one_by_one = prints(warehouse)
    emptied(warehouse)
    assert len(sources.ingest(warehouse, settings, NOW).taken) == 5
    assert prints(warehouse) == one_by_one


def test_originals_are_the_same_from_python_and_from_sql(warehouse, settings, deliver):
    header = HEADER + ",note"
    deliver("ats/requisitions/2024-01-01.csv", requisitions(row("R1", "t", "") + ',"a ""b"""', header=header))
    twice = [row("R2", "t", "") + ",n"] * 2
    deliver("ats/requisitions/2024-01-02.csv", requisitions(*twice, header=header))
    sources.ingest(warehouse, settings, NOW)
    kept = rows(
        warehouse,
        f"""select ({original_of(TABLE, "r")})::text as whole from raw.ats__requisitions as r
            where requisition_id = 'R2'
        union select original::text from quarantine.ats__requisitions""",
    )
    assert len(kept) == 1
    (first,) = rows(
        warehouse,
        f"""select o ->> 'note' as note, o ? '_row' as internal
            from raw.ats__requisitions as r, lateral (select {original_of(TABLE, "r")} as o) as whole
            where requisition_id = 'R1'""",
    )
    assert first == {"note": 'a "b"', "internal": False}


def test_killed_and_run_again_leaves_what_one_run_leaves(warehouse, settings, deliver):
    for name, content in deliveries(4, seed=1):
        deliver(f"ats/requisitions/{name}", content)
    for at_commit in (1, 2):  # the first time nothing was taken, the second time one file
        process = subprocess.run(
            [
                sys.executable, str(Path(__file__).with_name("killed.py")),
                warehouse.admin.render_as_string(hide_password=False), warehouse.database,
                str(settings.home), str(at_commit), as_of.text(NOW),
            ],
            check=False, timeout=120, env={**os.environ, "DATABASE_URL": ""},
        )  # fmt: skip
        assert process.returncode == -signal.SIGKILL
        assert len(batches(warehouse)) == at_commit - 1
    sources.ingest(warehouse, settings, NOW)
    survived = prints(warehouse)
    emptied(warehouse)
    assert len(sources.ingest(warehouse, settings, NOW).taken) == 4
    assert prints(warehouse) == survived


def test_ingests_at_once_take_each_file_once(warehouse, settings, deliver):
    for name, content in deliveries(6, seed=2):
        deliver(f"ats/requisitions/{name}", content)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: sources.ingest(warehouse, settings, NOW), range(4)))
    taken = [batch.batch_id for report in reports for batch in report.taken]
    assert len(taken) == len(set(taken)) == 6
    at_once = prints(warehouse)
    emptied(warehouse)
    sources.ingest(warehouse, settings, NOW)
    assert prints(warehouse) == at_once
