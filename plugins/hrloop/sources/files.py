"""Files: what has landed or lies in a company's own folder, and the rows of one file as text in Arrow.

``landing/<system>/<table>/<any name>.{csv,csv.gz,parquet}``, or what a declared pattern matches in a declared
folder; one file is one batch. Names that begin with ``.`` or ``_`` or end in ``.part`` or ``.tmp`` are files
still being written, and are left alone.
"""

import codecs
import csv
import gzip
import hashlib
import io
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hrloop.sources.contract import Refusal, Table
from hrloop.sources.declaration import Declaration, DeclarationError, FilesSource, FileTable
from hrloop.sources.rows import as_text, name_columns, refuse_zero_bytes

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_BLOCK = 1 << 20  # bytes parsed at a time: what caches hold; a row must fit in


@dataclass(frozen=True)
class LandingFile:
    """A file that brings rows of a table, and its content as it was when its folder was read."""

    path: Path
    system: str
    table_name: str
    file_name: str
    size: int
    modified_ns: int
    content_sha256: str

    @classmethod
    def at(cls, path: Path, system: str, table_name: str, file_name: str) -> "LandingFile":
        state = path.stat()
        content = _sha256(path, state.st_size, state.st_mtime_ns)
        return cls(path, system, table_name, file_name, state.st_size, state.st_mtime_ns, content)

    @property
    def batch_id(self) -> str:
        return batch_id(self.system, self.table_name, self.content_sha256)

    @property
    def modified(self) -> datetime:
        return datetime.fromtimestamp(self.modified_ns / 1e9, UTC)

    def is_unchanged(self) -> bool:
        """Whether the file has not been written to since."""
        state = self.path.stat()
        return (state.st_size, state.st_mtime_ns) == (self.size, self.modified_ns)


def batch_id(system: str, table: str, content_sha256: str) -> str:
    """The same content for the same table is the same batch."""
    return hashlib.sha256(f"{system}/{table} {content_sha256}".encode()).hexdigest()[:16]


def found(landing: Path) -> list[LandingFile]:
    """The files of the landing folder, of whatever kind."""
    return [
        LandingFile.at(path, *path.parts[-3:]) for path in sorted(landing.glob("*/*/*")) if is_whole(path)
    ]


def found_in_folders(declared: Declaration) -> list[LandingFile]:
    """The files that declared patterns match, each named by its path below the system's folder.

    Raises DeclarationError for a folder that is not there.
    """
    return [
        LandingFile.at(path, system, name, path.relative_to(source.folder).as_posix())
        for system, source in declared.systems.items()
        if isinstance(source, FilesSource) and source.folder is not None
        for name, paths in _matched(system, source).items()
        for path in sorted(paths)
        if is_whole(path)
    ]


def _matched(system: str, source: FilesSource) -> dict[str, set[Path]]:
    """The paths that the patterns of each table match."""
    if not source.folder.is_dir():
        raise DeclarationError(f"systems.{system}.folder: there is no folder {source.folder}; correct it")
    return {
        name: {path for pattern in table.files for path in source.folder.glob(pattern)}
        for name, table in source.tables.items()
    }


def is_whole(path: Path) -> bool:
    return path.is_file() and not path.name.startswith((".", "_")) and path.suffix not in (".part", ".tmp")


@lru_cache(maxsize=100_000)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    """Hash of a file, read once as long as its size and modification time stay what they are."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(data: bytes, file_name: str, table: Table, source: FileTable) -> tuple[pa.Table, pa.Array]:
    """Rows of a file as text columns under their contract names, and the line of each (int64).

    The line of a Parquet row is its number, from 1. Raises Refusal when the file cannot be read or lacks
    a column.
    """
    if is_parquet(file_name):
        return _read_parquet(data, table, source)
    rows, lines = read_csv(unpacked(data, file_name), source)
    return rows.rename_columns(name_columns(table, rows.column_names, source)), lines


def is_parquet(file_name: str) -> bool:
    return file_name.lower().endswith(".parquet")


def unpacked(data: bytes, file_name: str) -> bytes:
    """The CSV in a file. Raises Refusal for a file of another kind, and a damaged one."""
    lowered = file_name.lower()
    if lowered.endswith(".csv.gz"):
        try:
            return gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise Refusal(f"not a whole gzip file ({error}); compress and deliver it again") from error
    if not lowered.endswith(".csv"):
        raise Refusal(f"not a {', '.join(SUFFIXES)} file; deliver it as one of them")
    return data


def read_csv(data: bytes, source: FileTable) -> tuple[pa.Table, pa.Array]:
    """Rows as text columns under the source's own names, and the line of each. Raises Refusal."""
    if codecs.lookup(source.encoding).name != "utf-8":
        data = _recoded(data, source.encoding)
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise Refusal(f"line {line} holds a zero byte; deliver the file as UTF-8 text")
    header = _header(data, source.delimiter)
    if data.count(b'"') % 2:  # an open quote swallows the rest of the file without an error
        _refuse_open_quote(data, source.delimiter)
    try:
        rows = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # One thread says in which row it failed, and on two busy cores costs half of what two cost.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=source.delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _csv_refusal(data, str(error), source.delimiter) from error
    return rows.rename_columns(header), _lines(data, rows.num_rows, source.delimiter)


def _recoded(data: bytes, encoding: str) -> bytes:
    """The same text in UTF-8. Raises Refusal where it is not of the declared encoding."""
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Refusal(
            f"line {line} is not {encoding}, the declared encoding; correct the one or the other"
        ) from None


def _records(data: bytes, delimiter: str, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, header first, blank lines left out, each with the line that it begins on."""
    csv.field_size_limit(sys.maxsize)  # a cover letter may be longer than the default of 128 KB
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=strict)
    begins = 1
    for record in reader:
        if record:
            yield begins, record
        begins = reader.line_num + 1


def _header(data: bytes, delimiter: str) -> list[str]:
    try:
        header = next(_records(data, delimiter), None)
    except UnicodeDecodeError:
        raise _encoding_refusal(data) from None
    if header is None:
        raise Refusal("empty: not even a header; deliver it with its header, or remove it")
    return header[1]


def _lines(data: bytes, count: int, delimiter: str) -> pa.Array:
    """The line that each of ``count`` rows begins on (int64). Quoted line breaks and blank lines count."""
    lines_in_file = data.count(b"\n") + (not data.endswith(b"\n"))
    if lines_in_file == count + 1:
        return pa.array(np.arange(2, count + 2))
    return pa.array([begins for begins, _ in _records(data, delimiter)][1:], pa.int64())


def _csv_refusal(data: bytes, failure: str, delimiter: str) -> Refusal:
    """What pyarrow found wrong, with the line in the file and without the row's text, which is personal."""
    if "UTF8" in failure:
        return _encoding_refusal(data)
    match = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", failure)
    if match is None:
        return Refusal(f"not readable as CSV (RFC 4180): {failure.split(':')[-1].strip()}")
    row, expected, got = map(int, match.groups())
    line = next(
        begins for number, (begins, _) in enumerate(_records(data, delimiter), start=1) if number == row
    )
    return Refusal(
        f"line {line} has {got} columns where the header has {expected};"
        " quote values that hold commas or line breaks (RFC 4180)"
    )


def _refuse_open_quote(data: bytes, delimiter: str) -> None:
    begins = 0
    try:
        for line, _ in _records(data, delimiter, strict=True):
            begins = line
    except UnicodeDecodeError:
        raise _encoding_refusal(data) from None
    except csv.Error:
        raise Refusal(
            f"after line {begins} a quote is opened and not closed, or not doubled (RFC 4180)"
        ) from None


def _encoding_refusal(data: bytes) -> Refusal:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Refusal(f"line {line} is not UTF-8; save the file as CSV UTF-8")
    return Refusal("not UTF-8; save the file as CSV UTF-8")


def _read_parquet(data: bytes, table: Table, source: FileTable) -> tuple[pa.Table, pa.Array]:
    try:
        given = pyarrow.parquet.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise Refusal(f"not readable as Parquet ({error}); write the file again") from error
    names = name_columns(table, given.column_names, source)
    kinds = {name: column.type for name, column in table.columns.items()}
    rows = pa.table(
        [
            as_text(column, kinds.get(name, "text"), name)
            for name, column in zip(names, given.columns, strict=True)
        ],
        names=names,
    )
    lines = pa.array(np.arange(1, rows.num_rows + 1))
    refuse_zero_bytes(rows, lines)
    return rows, lines
