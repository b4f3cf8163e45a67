"""The source declaration: how one company's systems deliver the tables of the contract."""

import codecs
import os
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from hrloop.settings import Settings
from hrloop.sources import contract

DEFAULT = Path(__file__).with_name("default.yaml")


class DeclarationError(ValueError):
    """The source declaration cannot be used; the message names the file, the key and what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fill(_Part):
    """Where the values of a contract column come from that the source itself leaves empty."""

    file_name: str | None = Field(None, description="Pattern whose group in the file's name is the value.")
    column: str | None = Field(None, description="Column of the contract whose value is taken.")
    hash_of: tuple[str, ...] = Field((), description="Columns of the contract that name the row together.")

    @field_validator("file_name")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else _one_group(pattern)

    @model_validator(mode="after")
    def _has_one_origin(self) -> "Fill":
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of file_name, column and hash_of")
        return self


class TableSource(_Part):
    """How one table departs from the contract. ``translate`` does what is declared here, in this order."""

    rename: dict[str, str] = Field({}, description="The source's column name: the contract's.")
    absent: frozenset[str] = Field(frozenset(), description="Columns that the company does not have at all.")
    only_with: tuple[str, ...] = Field((), description="Rows without a value in these are of another table.")
    values: dict[str, dict[str, str]] = Field(
        {}, description="By column: the source's word, in whatever case, and the contract's for it."
    )
    dates: dict[str, str] = Field({}, description="By column: the source's format, as strptime reads it.")
    decimal: Literal[",", "."] | None = Field(None, description="Decimal sign of numbers; the other groups.")
    lists: dict[str, str] = Field({}, description="By column: what separates the items of a list.")
    fill: dict[str, Fill] = Field({}, description="By column: where a value comes from that is missing.")

    @field_validator("values", mode="before")
    @classmethod
    def _are_texts(cls, given: object) -> object:
        """YAML reads 1 and 2024-01-31 as what they look like; what a source delivers is text."""
        if not isinstance(given, dict):
            return given
        return {
            column: {_word(old): _text(new) for old, new in words.items()}
            if isinstance(words, dict)
            else words
            for column, words in given.items()
        }

    @field_validator("dates")
    @classmethod
    def _are_formats(cls, formats: dict[str, str]) -> dict[str, str]:
        for column, form in formats.items():
            if "%Y" not in form and "%y" not in form:
                raise ValueError(f"{column}: {form!r} has no year; write a format such as %d.%m.%Y")
        return formats

    def columns(self) -> Iterator[tuple[str, str]]:
        """(key, column) for each column of the contract that is named under a key of this table."""
        for key in ("values", "dates", "lists", "fill", "absent", "only_with"):
            yield from ((key, column) for column in getattr(self, key))
        yield from (("rename", column) for column in self.rename.values())
        for column, fill in self.fill.items():
            yield from ((f"fill.{column}", other) for other in [*filter(None, [fill.column]), *fill.hash_of])


def _word(given: object) -> str:
    """A source's word as values are looked up by: trimmed, in one case."""
    if isinstance(given, bool):  # YAML reads a bare yes, no, on and off as truth values
        raise ValueError('put the words yes, no, on, off, true and false in quotes: "yes"')
    return str(given).strip().casefold()


def _text(given: object) -> str:
    return str(given).lower() if isinstance(given, bool) else str(given)


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} must have one group, around the date: (\\d{{4}}-\\d{{2}}-\\d{{2}})")
    return pattern


class FileTable(TableSource):
    """Files that hold a table."""

    files: tuple[str, ...] = Field((), description="Patterns of their names below the system's folder.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What separates columns in CSV.")
    encoding: str = Field("utf-8", description="Encoding of CSV, such as cp1252.")

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError as error:
            raise ValueError(f"{name!r} is no encoding; write one such as utf-8 or cp1252") from error
        return name


class SqlTable(TableSource):
    """A table of a SQL database, or a query on it; a query may bind ``:since`` and ``:as_of``."""

    table: str | None = Field(None, description="Table or view, with its schema where it needs one.")
    query: str | None = Field(None, description="A select, instead of table.")

    @model_validator(mode="after")
    def _has_one_origin(self) -> "SqlTable":
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        return self


class RestTable(TableSource):
    """A list behind an endpoint of a REST API."""

    endpoint: dict[str, Any] = Field(description="dlt's endpoint: path, params, data_selector, paginator.")
    since: str | None = Field(None, description="Query parameter that asks for rows changed since a time.")


class _System(_Part):
    time_zone: str | None = Field(None, description="IANA zone of times that carry no offset.")
    history_until: AwareDatetime | None = Field(
        None, description="Rows updated before this were known when they were updated, not on arrival."
    )

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in zoneinfo.available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone; write one such as Europe/Berlin or UTC")
        return name


class FilesSource(_System):
    """Files that land under ``landing/<system>/<table>/``, or lie in a folder of the company's own."""

    kind: Literal["files"]
    folder: Path | None = Field(
        None, description="Where the tables' files lie; a relative path begins at the declaration."
    )
    arrival_from_name: str | None = Field(
        None, description="Pattern whose group is the ISO date or time of arrival; without, the file's mtime."
    )
    arrival_time: time = Field(time(0), description="Time of day for a name that gives only a date.")
    tables: dict[str, FileTable] = {}

    @field_validator("folder")
    @classmethod
    def _from_the_declaration(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        return folder and (info.context or {}).get("beside", Path()) / folder

    @field_validator("arrival_from_name")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else _one_group(pattern)

    @model_validator(mode="after")
    def _has_a_folder_for_files(self) -> "FilesSource":
        for name, table in self.tables.items():
            if table.files and self.folder is None:
                raise ValueError(f"tables.{name}.files: give the folder that they lie in under folder")
        return self

    @field_validator("arrival_time", mode="before")
    @classmethod
    def _is_quoted(cls, given: object) -> object:
        if isinstance(given, int):  # YAML reads a bare 00:30 as a number in base 60
            raise ValueError('put the time in quotes: "00:30"')
        return given

    def arrival(self, file_name: str, modified: datetime) -> datetime:
        """When a file arrived, aware. Raises contract.Refusal when its name gives an impossible date."""
        match = re.search(self.arrival_from_name, file_name) if self.arrival_from_name else None
        if match is None:
            return modified
        try:
            moment = datetime.fromisoformat(match[1])
        except ValueError as error:
            raise contract.Refusal(
                f"{match[1]!r} in its name is no ISO date; rename the file, or change arrival_from_name"
            ) from error
        if len(match[1]) <= len("2024-01-01"):
            moment = datetime.combine(moment, self.arrival_time)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone) if self.time_zone else UTC)
        return moment.astimezone(UTC)


class _Credentials(_System):
    secret: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Name of the secret: HRLOOP_SECRET_<NAME>, or the file secrets/<name> in home.",
    )

    def credential(self, settings: Settings, system: str) -> str | None:
        """The declared secret, or None where none is declared. Raises DeclarationError when it is not set."""
        return self.secret and given_secret(settings, self.secret, f"systems.{system}.secret: ")


def given_secret(settings: Settings, name: str, where: str = "") -> str:
    """A secret that somebody gave. Raises DeclarationError when it is not set: none is made up."""
    variable = f"HRLOOP_SECRET_{name.upper()}"
    file = settings.home / "secrets" / name
    if variable not in os.environ and not file.exists():  # Settings.secret would make one up
        raise DeclarationError(f"{where}set {variable}, or write the secret to {file}")
    return settings.secret(name)


class SqlSource(_Credentials):
    """A SQL database, pulled through SQLAlchemy. The URL is given openly, or as the secret."""

    kind: Literal["sql"]
    url: str | None = Field(None, description="SQLAlchemy URL without a password.")
    tables: dict[str, SqlTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_one_url(self) -> "SqlSource":
        if (self.url is None) == (self.secret is None):
            raise ValueError("give either url, or secret, the name of the secret that holds the URL")
        if self.url is not None:
            try:
                password = make_url(self.url).password
            except ArgumentError as error:
                raise ValueError(
                    "url is no SQLAlchemy URL, such as postgresql+psycopg2://host/database"
                ) from error
            if password:
                raise ValueError("url holds a password; give the whole URL as a secret instead")
        return self


class RestSource(_Credentials):
    """A REST API, pulled through dlt. The secret, where declared, is sent as a bearer token."""

    kind: Literal["rest"]
    base_url: str
    client: dict[str, Any] = Field({}, description="More of dlt's client: paginator, headers.")
    tables: dict[str, RestTable] = Field(min_length=1)


Source = Annotated[FilesSource | SqlSource | RestSource, Field(discriminator="kind")]


class Declaration(_Part):
    """All systems of a company, by the name they have in the contract."""

    systems: dict[str, Source]

    @model_validator(mode="after")
    def _keeps_the_contract(self) -> "Declaration":
        tables = contract.load()
        known = {table.system for table in tables.values()}
        for system, source in self.systems.items():
            if system not in known:
                raise ValueError(
                    f"systems.{system} is not in the contract, which has {', '.join(sorted(known))}"
                )
            for name, given in source.tables.items():
                where = f"systems.{system}.tables.{name}"
                if f"{system}.{name}" not in tables:
                    raise ValueError(f"{where} is not in the contract")
                table = tables[f"{system}.{name}"]
                for key, column in given.columns():
                    if column not in table.columns:
                        raise ValueError(f"{where}.{key}: {column} is not in the contract")
                for column in given.absent & set(table.required):
                    raise ValueError(f"{where}.absent: {column} is required and cannot be absent")
                if not isinstance(source, FilesSource) and any(
                    fill.file_name for fill in given.fill.values()
                ):
                    raise ValueError(f"{where}.fill: {source.kind} has no file names; fill from a column")
                if len(set(given.rename.values())) < len(given.rename):
                    raise ValueError(f"{where}.rename: two columns become the same one")
        return self

    @cached_property
    def _tables(self) -> dict[str, TableSource]:
        return {
            f"{system}.{name}": given
            for system, source in self.systems.items()
            for name, given in source.tables.items()
        }

    def table(self, full_name: str) -> TableSource:
        """What is declared for ``<system>.<table>``; the bare contract where nothing is."""
        return self._tables.get(full_name, TableSource())

    def absent(self, full_name: str) -> frozenset[str]:
        """Columns of ``<system>.<table>`` that the company does not have at all."""
        return self.table(full_name).absent


def load(settings: Settings) -> Declaration:
    """The declaration that ``HRLOOP_SOURCES`` names, else the practice company's.

    Raises DeclarationError, naming file and key, when it is missing, no YAML, or breaks the schema.
    """
    path = settings.sources or DEFAULT
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DeclarationError(f"{path}: there is no such file; HRLOOP_SOURCES must name one") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: not readable as YAML: {error}") from error
    try:
        return Declaration.model_validate(document, context={"beside": path.parent})
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
            for problem in error.errors()
        )
        raise DeclarationError(f"{path}: {problems}") from error
