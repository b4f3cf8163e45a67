"""Landing files into ``raw``, beside the plain way: COPY or ADBC into a temporary table, then an upsert.

Both read the same CSV file of 20 columns. The plain way stores the 20 columns as text; ours also hashes the
file and the candidates, checks and parses the times, keeps three columns that are not in the contract as
JSON, and records the batch. Of the two plain ways the faster is the reference, and the ratio is the median
of those of neighbouring runs.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.csv
from hrloop import sources
from hrloop.sources import contract
from hrloop.warehouse import Warehouse
from sqlalchemy import text

from benchmarks import Row, rate

LIMIT = 0.70  # of the plain rate, with everything that the plain way leaves out
AS_OF = datetime(2024, 3, 1, 6, tzinfo=UTC)
TABLE = contract.load()["ats.applications"]
EXTRA = ("agency_code", "campaign", "referrer")
COLUMNS = [*TABLE.columns, *EXTRA]


def run(wh: Warehouse, n: int) -> list[Row]:
    """Rates for n rows into an empty table, and for n rows of which half correct rows that are there.

    Empties the tables that it uses. Raises RuntimeError when there is anything in them at the start.
    """
    sources.ensure_tables(wh)
    if wh.read("loader", "select exists (select from loop.batches) as used")["used"][0].as_py():
        raise RuntimeError("the warehouse holds batches; give the benchmark one of its own")
    with tempfile.TemporaryDirectory() as folder:
        first, corrections = Path(folder) / "2024-02-01.csv", Path(folder) / "2024-02-02.csv"
        pyarrow.csv.write_csv(_applications(n, first_key=0, updated="2024-01-31"), first)
        pyarrow.csv.write_csv(_applications(n, first_key=n // 2, updated="2024-02-01"), corrections)
        rows = []
        for name, earlier, file, key in (
            ("load into an empty table", [], first, "application_id, updated_at"),
            ("load with merge by key, half corrections", [first], corrections, "application_id"),
        ):
            turns = [
                (_ours(wh, earlier, file), *(_plain(wh, earlier, file, key, way) for way in (_adbc, _copy)))
                for _ in range(5 if n <= 200_000 else 3)
            ]
            ours, by_adbc, by_copy = zip(*turns, strict=True)
            plain = min(by_adbc, by_copy, key=median)
            rows.append(rate(name, n, list(zip(ours, plain, strict=True)), LIMIT))
        _clear(wh)
    return rows


def _applications(n: int, first_key: int, updated: str) -> pa.Table:
    """n applications of 20 columns, about 240 bytes a row, the same at each run."""
    random = np.random.default_rng(first_key)
    keys = np.arange(first_key, first_key + n)

    def numbered(prefix: str, numbers: np.ndarray) -> np.ndarray:
        return np.char.add(prefix, np.char.zfill(numbers.astype(str), 8))

    def one_of(*values: str) -> np.ndarray:
        return np.array(values)[random.integers(0, len(values), n)]

    seconds = random.integers(0, 28 * 86_400, n)
    applied = np.datetime_as_string(np.datetime64("2024-01-01T00:00:00") + seconds, unit="s")
    letters = ("I have followed your work for years and would like to join.", "Please see my papers.", "")
    columns = {
        "application_id": numbered("A", keys),
        "candidate_id": numbered("C", keys // 2),
        "requisition_id": numbered("R", keys % 2_000),
        "applied_at": np.char.add(applied, "Z"),
        "source_channel": one_of("job_board", "referral", "agency", "career_site"),
        "years_experience": random.integers(0, 30, n).astype(str),
        "education_level": one_of("bachelor", "master", "doctorate"),
        "education_field": one_of("computer science", "mathematics", "law", "arts"),
        "skills": one_of("python|sql", "excel|sap|java", "cooking"),
        "foreign_experience": one_of("true", "false"),
        "assessment_score": np.round(random.random(n) * 100, 1).astype(str),
        "cover_letter": one_of(*letters),
        "name": numbered("Person ", keys),
        "email": np.char.add(numbered("person", keys), "@example.org"),
        "gender": one_of("female", "male"),
        "birth_year": random.integers(1960, 2004, n).astype(str),
        "updated_at": np.char.add(np.char.replace(applied, "2024-01-", f"{updated[:7]}-"), "Z"),
        "agency_code": numbered("G", random.integers(0, 90, n)),
        "campaign": one_of("spring", "autumn"),
        "referrer": numbered("", random.integers(0, 9_000, n)),
    }
    return pa.table({name: columns[name] for name in COLUMNS})


def _clear(wh: Warehouse) -> None:
    with wh.engine("admin").connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("drop table if exists raw.reference"))
        connection.execute(text(f"truncate {TABLE.raw}, {TABLE.quarantine}"))
        connection.execute(text("delete from loop.batches"))
        connection.execute(text("checkpoint"))  # nobody pays for what another has written


def _ours(wh: Warehouse, earlier: list[Path], file: Path) -> float:
    """Seconds that ``ingest`` takes for the file."""
    _clear(wh)
    with tempfile.TemporaryDirectory(dir=file.parent) as landing:
        settings = wh.settings.model_copy(update={"landing_dir": Path(landing), "sources": None})
        place = Path(landing) / TABLE.system / TABLE.name
        place.mkdir(parents=True)
        for path in earlier:
            (place / path.name).hardlink_to(path)
            sources.ingest(wh, settings, AS_OF)
        (place / file.name).hardlink_to(file)
        start = time.perf_counter()
        report = sources.ingest(wh, settings, AS_OF)
        seconds = time.perf_counter() - start
    if len(report.taken) != 1 or report.taken[0].rows_quarantined:
        raise RuntimeError(f"the file should have come in whole: {report}")
    return seconds


def _plain(
    wh: Warehouse, earlier: list[Path], file: Path, key: str, way: Callable[[Warehouse, Path, str], None]
) -> float:
    """Seconds that a plain load takes for the file."""
    _clear(wh)
    with wh.engine("loader").begin() as connection:
        columns = ", ".join(f"{name} text" for name in COLUMNS)
        connection.execute(text(f"create table raw.reference ({columns}, primary key ({key}))"))
    for path in earlier:
        way(wh, path, key)
    start = time.perf_counter()
    way(wh, file, key)
    return time.perf_counter() - start


def _upsert(key: str) -> str:
    names = ", ".join(COLUMNS)
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    return (
        f"insert into raw.reference ({names}) select {names} from incoming"  # noqa: S608 - constants
        f" on conflict ({key}) do update set {changes}"
    )


def _adbc(wh: Warehouse, file: Path, key: str) -> None:
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
    rows = pyarrow.csv.read_csv(file, convert_options=as_text)
    with wh.adbc("loader") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("incoming", rows, mode="create", temporary=True)
        cursor.execute(_upsert(key))
        cursor.execute("drop table incoming")  # the connection is kept for the next use


def _copy(wh: Warehouse, file: Path, key: str) -> None:
    connection = wh.engine("loader").raw_connection()
    try:
        with connection.cursor() as cursor, file.open("rb") as data:
            cursor.execute("create temporary table incoming (like raw.reference) on commit drop")
            cursor.copy_expert("copy incoming from stdin (format csv, header)", data, 1 << 20)
            cursor.execute(_upsert(key))
        connection.commit()
    finally:
        connection.close()
