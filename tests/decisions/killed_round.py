"""Decides a round in processes of its own, each killed with SIGKILL at another moment of its write.

    python killed_round.py HOME DATABASE_URL DATABASE MLFLOW_URL

Prints how many decisions are there after each kill.
"""

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from adbc_driver_postgresql.dbapi import Cursor
from hrloop import decisions, release, usecase
from hrloop.settings import PROJECT, Settings
from hrloop.warehouse import Warehouse

AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)


def main(home: str, database_url: str, database: str, mlflow_url: str) -> None:
    settings = Settings(home=Path(home), mlflow_url=mlflow_url)
    columns = ("years_experience", "job_family", "foreign_experience")
    found = usecase.load("recruitment", PROJECT)
    features = tuple(feature for feature in found.features if feature.name in columns)
    use_case = found.model_copy(update={"name": "small_case", "features": features})
    rows = {}
    for moment in ("before", "during", "after"):
        # This process itself opens nothing, so that its forks share no thread and no connection.
        child = os.fork()
        if child == 0:
            die(moment)
            wh = Warehouse.at(database_url, settings, database)
            decisions.decide(wh, settings, release.connect(settings), use_case, AS_OF)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"{moment}: the process ended with {status}, and was not killed")
        reading, writing = os.pipe()
        if os.fork() == 0:
            wh = Warehouse.at(database_url, settings, database)
            count = wh.read("engine", "select decision_id from loop.decisions").num_rows
            os.write(writing, str(count).encode())
            os._exit(0)
        rows[moment] = int(os.read(reading, 20))
        os.wait()
    print(json.dumps(rows))


def die(moment: str) -> None:
    """From now on a write of rows ends in death: before it, half-way, or after it."""
    merge, ingest = Warehouse.merge, Cursor.adbc_ingest

    def killed(self, role, tables) -> None:
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        merge(self, role, tables)
        os.kill(os.getpid(), signal.SIGKILL)

    Warehouse.merge = killed
    if moment == "during":
        Cursor.adbc_ingest = lambda self, name, rows, **how: ingest(self, name, deadly(rows), **how)


def deadly(rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Rows that kill their reader half-way, when some are sent and the transaction is open."""

    def batches():
        batch = rows.read_next_batch()
        yield batch.slice(0, len(batch) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


if __name__ == "__main__":
    main(*sys.argv[1:])
