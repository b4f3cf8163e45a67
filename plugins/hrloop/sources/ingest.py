"""What has arrived by a time, into ``raw``: each batch once, each in a transaction of its own."""

# ruff: noqa: S608 - only a constant is put into statements; values are bound

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import pyarrow as pa
from adbc_driver_postgresql.dbapi import Connection
from sqlalchemy import text

from hrloop import as_of as moments
from hrloop.settings import Settings
from hrloop.sources import contract, declaration, files, rest, sql
from hrloop.sources.contract import Refusal, Table
from hrloop.sources.declaration import Declaration, FilesSource, FileTable, SqlSource, TableSource
from hrloop.sources.files import LandingFile
from hrloop.sources.load import NEVER_TAKEN, Batch, Loaded, load, load_pull
from hrloop.sources.pull import SourceError, content_sha256, until, watermark
from hrloop.sources.rows import Prepared, name_columns, prepare, refuse_zero_bytes
from hrloop.sources.tables import ensure_tables
from hrloop.sources.translate import translate
from hrloop.warehouse import Warehouse


@dataclass(frozen=True)
class Taken:
    """A batch that was loaded."""

    batch_id: str
    table: str
    file_name: str
    rows_in: int
    rows_quarantined: int
    extra_columns: list[str]


@dataclass(frozen=True)
class Refused:
    """A batch that was refused whole. ``reason`` names it, the line and column, and the remedy."""

    batch_id: str
    table: str
    file_name: str
    reason: str


@dataclass
class IngestReport:
    """What one ingest did: batches taken, batches that stand refused, files that have not arrived yet."""

    taken: list[Taken] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    waiting: int = 0

    def summary(self) -> dict:
        """The report in figures and words, as a step records it."""
        return {
            "batches_taken": len(self.taken),
            "rows_in": sum(batch.rows_in for batch in self.taken),
            "rows_quarantined": sum(batch.rows_quarantined for batch in self.taken),
            "extra_columns": sorted(
                {f"{batch.table}.{column}" for batch in self.taken for column in batch.extra_columns}
            ),
            "refused": [refused.reason for refused in self.refused],
            "waiting": self.waiting,
        }


def ingest(wh: Warehouse, settings: Settings, as_of: datetime) -> IngestReport:
    """Take every batch that has arrived by ``as_of`` and has not been taken, in the order of arrival.

    A file that breaks the contract is refused and recorded; the others go on. It is tried again at each
    ingest, so that a corrected declaration is enough, and stands as refused until it is taken, replaced or
    removed.
    Raises DeclarationError before anything is taken; and SourceError, after all else has been taken, when
    a database or an API could not be read.
    """
    with ExitStack() as connections:
        run = _Ingest(wh, settings, declaration.load(settings), moments.utc(as_of), connections)
        pulls = [
            (contract.load()[f"{system}.{name}"], source.credential(settings, system))
            for system, source in run.declared.systems.items()
            if not isinstance(source, FilesSource)
            for name in source.tables
        ]
        ensure_tables(wh)
        run.take_files()
        failures = []
        for table, credential in pulls:
            try:
                run.take_pull(table, credential)
            except SourceError as error:
                failures.append(str(error))
        run.forget_refusals()
    _analyse(wh, run.report.taken)
    if failures:
        raise SourceError("; ".join(failures))
    return run.report


def _analyse(wh: Warehouse, taken: Sequence[Taken]) -> None:
    """Tell Postgres what the tables hold now: what reads them next would be planned blindly otherwise.

    Where less than a tenth of a table is new, of most columns what was true still is; not so of when rows
    became known, by which the new ones are found.
    """
    new: Counter[str] = Counter()
    for batch in taken:
        new[contract.load()[batch.table].raw] += batch.rows_in
    with wh.engine("loader").begin() as connection:
        for table, rows in sorted(new.items()):
            stood = connection.scalar(
                text("select reltuples from pg_class where oid = cast(:name as regclass)"), {"name": table}
            )
            connection.exec_driver_sql(f"analyze {table}{'' if rows * 10 > stood else ' (_known_at)'}")


@dataclass(frozen=True)
class _Ingest:
    """One ingest under way."""

    wh: Warehouse
    settings: Settings
    declared: Declaration
    as_of: datetime
    connections: ExitStack
    report: IngestReport = field(default_factory=IngestReport)

    @cached_property
    def loader(self) -> Connection:
        """One connection for all batches, opened for the first: to open it costs more than most batches."""
        return self.connections.enter_context(self.wh.adbc("loader"))

    def take_files(self) -> None:
        batches = self._batches()
        taken = {batch.batch_id for batch in batches}
        named = {(batch.system, batch.table_name, batch.file_name) for batch in batches}
        arrived = []
        for file in [*files.found(self.settings.landing), *files.found_in_folders(self.declared)]:
            if file.batch_id in taken:
                continue
            try:
                moment = self._arrival(file, replaces=(file.system, file.table_name, file.file_name) in named)
            except Refusal as error:
                self._refuse(file, file.modified, error)
                continue
            if moment > self.as_of:
                self.report.waiting += 1
            else:
                arrived.append((moment, file))
        for moment, file in sorted(arrived, key=lambda pair: (pair[0], pair[1].path)):
            try:
                self._take_file(file, moment)
            except Refusal as error:
                self._refuse(file, moment, error)

    def _batches(self) -> list:
        with self.wh.engine("loader").connect() as connection:
            return connection.execute(
                text(
                    "select batch_id, system, table_name, file_name from loop.batches as b"
                    f" where not {NEVER_TAKEN}"
                )
            ).all()

    def _arrival(self, file: LandingFile, replaces: bool) -> datetime:
        """When a file arrived; what replaces a file under its name did not arrive before it was written."""
        source = self.declared.systems.get(file.system)
        if not isinstance(source, FilesSource):
            return file.modified
        moment = source.arrival(file.file_name, file.modified)
        return max(moment, file.modified) if replaces else moment

    def _take_file(self, file: LandingFile, arrived_at: datetime) -> None:
        full_name = f"{file.system}.{file.table_name}"
        table = contract.load().get(full_name)
        if table is None:
            raise Refusal(f"the source contract has no table {full_name}; move the file to one that it has")
        source = self.declared.systems.get(file.system)
        if not isinstance(source, FilesSource):
            raise Refusal(f"the source declaration has no system {file.system} of kind files; declare it")
        data = file.path.read_bytes()
        if not file.is_unchanged():
            self.report.waiting += 1  # it is being written at this moment; the next ingest sees it whole
            return
        given = source.tables.get(file.table_name, FileTable())
        rows, lines = files.read(data, file.file_name, table, given)
        batch = Batch(table, file.batch_id, file.file_name, file.content_sha256, arrived_at)
        prepared = self._prepare(batch, *self._translate(batch, rows, lines, given))
        self._report(batch, prepared, load(self.loader, batch, prepared))

    def take_pull(self, table: Table, credential: str | None) -> None:
        """Pull what a database or an API has that is new. Raises SourceError when it cannot be read."""
        source, given = self.declared.systems[table.system], self.declared.table(table.full_name)
        since = watermark(self.wh, table)
        if isinstance(source, SqlSource):
            rows = sql.pull(source.url or credential, source, given, table, since, self.as_of)
        else:
            rows = rest.pull(credential, source, given, table, since)
        if not rows.num_rows:
            return
        sha256 = content_sha256(rows)
        batch = Batch(
            table=table,
            batch_id=files.batch_id(table.system, table.name, sha256),
            file_name=f"pull {moments.text(self.as_of)}",
            content_sha256=sha256,
            arrived_at=self.as_of,
        )
        try:
            rows = rows.rename_columns(name_columns(table, rows.column_names, given))
            lines = pa.array(range(1, rows.num_rows + 1), pa.int64())
            rows, lines = self._translate(batch, rows, lines, given)
            rows, lines, last = until(rows, lines, self.as_of, source.time_zone)
            refuse_zero_bytes(rows, lines)
            prepared = self._prepare(batch, rows, lines)
        except Refusal as error:
            self._refuse(batch, self.as_of, error)
            return
        self._report(batch, prepared, load_pull(self.loader, batch, prepared, last))

    def _translate(
        self, batch: Batch, rows: pa.Table, lines: pa.Array, given: TableSource
    ) -> tuple[pa.Table, pa.Array]:
        key = self.settings.secret("pseudonym_key")
        return translate(batch.table, rows, lines, given, file_name=batch.file_name, pseudonym_key=key)

    def _prepare(self, batch: Batch, rows: pa.Table, lines: pa.Array) -> Prepared:
        source = self.declared.systems[batch.table.system]
        return prepare(
            batch.table,
            rows,
            lines,
            batch_id=batch.batch_id,
            arrived_at=batch.arrived_at,
            pseudonym_key=self.settings.secret("pseudonym_key"),
            time_zone=source.time_zone,
            history_until=source.history_until,
        )

    def _report(self, batch: Batch, prepared: Prepared, loaded: Loaded | None) -> None:
        if loaded is not None:  # None: another ingest was first, or the pull brought nothing new
            self.report.taken.append(
                Taken(
                    batch_id=batch.batch_id,
                    table=batch.table.full_name,
                    file_name=batch.file_name,
                    rows_in=loaded.rows_in,
                    rows_quarantined=loaded.rows_quarantined,
                    extra_columns=prepared.extra_columns,
                )
            )

    def _refuse(self, refused: LandingFile | Batch, arrived_at: datetime, error: Refusal) -> None:
        system, table = refused.system, refused.table_name
        reason = f"{system}/{table}/{refused.file_name}: {error}"
        with self.wh.engine("loader").begin() as connection:
            connection.execute(
                text(
                    f"""insert into loop.batches as b
                        (batch_id, system, table_name, file_name, content_sha256, arrived_at, status, reason)
                    values (:batch_id, :system, :table, :file_name, :sha256, :arrived_at, 'refused', :reason)
                    on conflict (batch_id) do update set status = 'refused', reason = excluded.reason,
                        file_name = excluded.file_name, arrived_at = excluded.arrived_at
                    where {NEVER_TAKEN}"""
                ),
                {
                    "batch_id": refused.batch_id,
                    "system": system,
                    "table": table,
                    "file_name": refused.file_name,
                    "sha256": refused.content_sha256,
                    "arrived_at": arrived_at,
                    "reason": reason,
                },
            )
        self.report.refused.append(Refused(refused.batch_id, f"{system}.{table}", refused.file_name, reason))

    def forget_refusals(self) -> None:
        """A refused batch whose file is no longer there, or no longer the same, stands no more."""
        with self.wh.engine("loader").begin() as connection:
            connection.execute(
                text(
                    "update loop.batches set status = 'superseded' where status = 'refused'"
                    " and arrived_at <= :as_of and batch_id <> all(:standing)"
                ),
                {"as_of": self.as_of, "standing": [refused.batch_id for refused in self.report.refused]},
            )
