"""Small deliveries of the tables of the contract, taken by the real sources and judged by the real gate."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

from hrloop import quality, sources
from hrloop.settings import Settings
from hrloop.sources import contract
from hrloop.warehouse import Warehouse
from sqlalchemy import text

DAY = "2026-09-01"  # of the usual delivery; its files arrive at 00:30 UTC


def at(day: str, hour: int = 6) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def requisition(number: int = 1, **values) -> dict:
    return {
        "requisition_id": f"R{number}",
        "job_family": "engineering",
        "title": "Engineer",
        "department": "R&D",
        "location": "Berlin",
        "opened_at": "2026-07-01T08:00:00Z",
        "headcount": "2",
        "required_skills": "python|sql",
        "hiring_manager_id": "E1",
        "updated_at": "2026-07-01T08:00:00Z",
        **values,
    }


def application(number: int, **values) -> dict:
    return {
        "application_id": f"A{number}",
        "candidate_id": f"C{number}",
        "requisition_id": "R1",
        "applied_at": "2026-08-10T09:00:00Z",
        "source_channel": "agency" if number % 3 == 0 else "job board",
        "years_experience": str(number % 30),
        "education_level": "master",
        "skills": "python|ms excel",
        "assessment_score": "61.5",
        "name": f"Person {number}",
        "gender": "f",
        "birth_year": "1990",
        "updated_at": "2026-08-10T09:00:00Z",
        **values,
    }


def employee(number: int, **values) -> dict:
    return {
        "employee_id": f"E{number}",
        "valid_from": "2026-08-01",
        "hired_on": "2026-08-01",
        "department": "R&D",
        "job_family": "engineering",
        "job_level": "senior",
        "location": "Berlin",
        "manager_id": "E1",
        "fte": "1.0",
        "updated_at": "2026-08-01T09:00:00Z",
        **values,
    }


class Company:
    """Delivers files to one warehouse, and asks the gate."""

    def __init__(self, wh: Warehouse, settings: Settings) -> None:
        self.wh, self.settings = wh, settings

    def file(self, table: str, rows: Iterable[dict], name: str = DAY) -> None:
        """Land a file; without rows it has the header of the contract."""
        rows = list(rows)
        columns = list(rows[0]) if rows else list(contract.load()[table].columns)
        sink = io.StringIO()
        writer = csv.DictWriter(sink, columns)
        writer.writeheader()
        writer.writerows(rows)
        path = self.settings.landing / table.replace(".", "/") / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sink.getvalue(), encoding="utf-8")

    def empty_file(self, table: str, name: str = DAY) -> None:
        """A delivery without rows, entered as sources enter one."""
        system, _, short = table.partition(".")
        with self.wh.engine("loader").begin() as connection:
            connection.execute(
                text(
                    "insert into loop.batches (batch_id, system, table_name, file_name, content_sha256,"
                    " arrived_at, status) values (:id, :system, :table, :file, '', :at, 'loaded')"
                ),
                {
                    "id": f"{table} {name}",
                    "system": system,
                    "table": short,
                    "file": f"{name}.csv",
                    "at": at(name[:10], 0),
                },
            )

    def take(self, as_of: datetime) -> None:
        report = sources.ingest(self.wh, self.settings, as_of)
        assert not report.refused, report.refused

    def gate(self, day: str = DAY, hour: int = 6) -> quality.GateReport:
        """Take what has arrived, and judge it."""
        self.take(at(day, hour))
        return quality.gate(self.wh, self.settings, at(day, hour))

    def rows(self, statement: str, **values) -> list[tuple]:
        with self.wh.engine("admin").connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    def status(self, table: str) -> dict[str, str]:
        """File name → status."""
        system, name = table.split(".")
        return dict(
            self.rows(
                "select file_name, status from loop.batches where system = :s and table_name = :n order by 1",
                s=system,
                n=name,
            )
        )

    def quarantine(self, table: str) -> dict[str, list[str]]:
        """First key → rules, of the rows in quarantine."""
        key = contract.load()[table].key[0]
        return {
            row[0]: sorted(row[1])
            for row in self.rows(
                f"select original->>'{key}', rules from {contract.load()[table].quarantine}"
                " where readmitted_as_of is null"
            )
        }

    def forget(self) -> None:
        """Empty the warehouse; the landing files stay, to be taken again."""
        sources.ensure_tables(self.wh)
        with self.wh.engine("admin").begin() as connection:
            for table in contract.load().values():
                connection.exec_driver_sql(f"delete from {table.raw}")
                connection.exec_driver_sql(f"delete from {table.quarantine}")
            connection.exec_driver_sql("delete from loop.gate_results")
            connection.exec_driver_sql("delete from loop.batches")

    def balanced(self) -> bool:
        """Whether rows in = rows passed + rows in quarantine, by the ledger and by the tables themselves."""
        for table in contract.load().values():
            for batch, came, passed, held in self.rows(
                "select batch_id, rows_in, rows_passed, rows_quarantined from loop.batches"
                " where system = :s and table_name = :n",
                s=table.system,
                n=table.name,
            ):
                stand = self.rows(f"select count(*) from {table.raw} where _batch_id = :b", b=batch)[0][0]
                aside = self.rows(
                    f"select count(*) from {table.quarantine}"
                    " where batch_id = :b and readmitted_as_of is null",
                    b=batch,
                )[0][0]
                if not (came == passed + held and passed == stand and held == aside):
                    return False
        return True
