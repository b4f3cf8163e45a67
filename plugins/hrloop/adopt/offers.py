"""What a company offers: files that look alike, or tables of a database."""

import csv
import fnmatch
import glob
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from sqlalchemy import MetaData, Table, create_engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from hrloop.adopt.evidence import Seen
from hrloop.sources import files
from hrloop.sources.contract import Refusal
from hrloop.sources.declaration import FileTable
from hrloop.sources.pull import SourceError, as_rows
from hrloop.sources.rows import as_text

_ROWS = 100_000  # of a table in a database: enough to see formats, keys and words
_ALIKE = 0.5  # share of columns that files of one table have in common at least
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Offer:
    """A table as the company has it. ``rows``: text columns under the source's own names."""

    name: str
    rows: pa.Table
    files: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"
    newest: datetime | None = None
    relation: str | None = None

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return self.relation or ", ".join(self.patterns)

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """Its columns with their values."""
        return {name: Seen.of(name, self.rows[name]) for name in self.rows.column_names}


def in_folder(folder: Path) -> tuple[list[Offer], list[str]]:
    """Files below the folder, grouped to tables, and for each file that cannot be read its name and why.

    Files are of one table when their names differ in digits alone and their columns are much the same.
    Raises FileNotFoundError when there is no such folder, or no file in it that could be one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name the one that holds the exports")
    names = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(files.SUFFIXES) and files.is_whole(path)
    ]
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no {', '.join(files.SUFFIXES)} file; export the tables there"
        )
    groups: dict[tuple, list[Offer]] = {}
    unreadable = []
    for name in names:
        try:
            offer = _of_file(folder, name)
        except Refusal as refusal:
            unreadable.append(f"{name}: {refusal}")
            continue
        alike = groups.setdefault((_stem(name), offer.delimiter, offer.encoding), [])
        for number, other in enumerate(alike):
            if _are_alike(other, offer):
                alike[number] = _together(other, offer)
                break
        else:
            alike.append(offer)
    offers = [offer for alike in groups.values() for offer in alike]
    return [replace(offer, patterns=_patterns(offer.files, names)) for offer in offers], unreadable


def in_database(url: str) -> list[Offer]:
    """Tables and views of a database. Raises SourceError when it cannot be read."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            inspector = inspect(connection)
            offers = []
            for schema, name in _relations(inspector):
                relation = Table(name, MetaData(), schema=schema, autoload_with=connection)
                result = connection.execute(select(relation).limit(_ROWS))
                rows = as_rows(result.mappings(), list(result.keys()))
                offers.append(Offer(name, rows, relation=".".join(filter(None, [schema, name]))))
            return offers
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise SourceError(f"the database could not be read: {reason}") from error
    finally:
        engine.dispose()


def _relations(inspector) -> Iterator[tuple[str | None, str]]:
    for schema in inspector.get_schema_names():
        if schema in ("information_schema", "sys", "mysql", "performance_schema") or schema.startswith("pg_"):
            continue
        shown = None if schema == inspector.default_schema_name else schema
        for name in sorted([*inspector.get_table_names(schema), *inspector.get_view_names(schema)]):
            yield shown, name


def _of_file(folder: Path, name: str) -> Offer:
    path = folder / name
    offer = Offer(
        _title(name),
        pa.table({}),
        files=(name,),
        newest=datetime.fromtimestamp(path.stat().st_mtime, UTC),
    )
    data = path.read_bytes()
    if files.is_parquet(name):
        try:
            given = pyarrow.parquet.read_table(pa.BufferReader(data))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise Refusal(f"not readable as Parquet ({error}); write the file again") from error
        columns = [
            as_text(column, "date", title)
            for title, column in zip(given.column_names, given.columns, strict=True)
        ]
        return replace(offer, rows=pa.table(columns, names=given.column_names))
    data = files.unpacked(data, name)
    encoding = _encoding(data)
    delimiter = _delimiter(data.decode(encoding, errors="replace"))
    rows, _ = files.read_csv(data, FileTable(delimiter=delimiter, encoding=encoding))
    twice = [column for column, number in Counter(rows.column_names).items() if number > 1]
    if twice:
        raise Refusal(f"column {', '.join(twice)} is there more than once; keep one")
    return replace(offer, rows=rows, delimiter=delimiter, encoding=encoding)


def _encoding(data: bytes) -> str:
    """UTF-8 where the bytes are that; else Windows's Western European, in which spreadsheets save CSV."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _delimiter(content: str) -> str:
    """The sign that splits the header into most columns; a comma where none does."""
    header = content.lstrip("\ufeff").split("\n", 1)[0]
    return max(",;\t|", key=lambda sign: len(next(csv.reader(io.StringIO(header), delimiter=sign), [])))


def _stem(name: str) -> str:
    return _NUMBER.sub("", name.lower().removesuffix(".gz"))


def _title(name: str) -> str:
    """The words of a file's name, or of its folders where it is named by a date alone."""
    path = Path(name)
    own = _NUMBER.sub(" ", path.name.split(".")[0])
    return own if re.search(r"[^\W_]{2}", own) else " ".join([*path.parent.parts[-1:], own])


def _are_alike(one: Offer, other: Offer) -> bool:
    mine, theirs = set(one.rows.column_names), set(other.rows.column_names)
    return len(mine & theirs) >= _ALIKE * len(mine | theirs)


def _together(one: Offer, other: Offer) -> Offer:
    return replace(
        one,
        rows=pa.concat_tables([one.rows, other.rows], promote_options="default"),
        files=(*one.files, *other.files),
        newest=max(one.newest, other.newest),
    )


def _patterns(mine: tuple[str, ...], everything: list[str]) -> tuple[str, ...]:
    """A pattern for files whose names differ in digits, where it matches no file of another table."""
    pattern = _NUMBER.sub("*", glob.escape(mine[0]))
    if len(mine) > 1 or pattern != mine[0]:
        matched = [name for name in everything if _matches(name, pattern)]
        if set(matched) == set(mine):
            return (pattern,)
    return tuple(glob.escape(name) for name in mine)


def _matches(name: str, pattern: str) -> bool:
    """As Path.glob does: a star stays within one folder."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
