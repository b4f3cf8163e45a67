"""The source declaration: how one company's systems deliver the tables of the contract."""

import os
import re
import zoneinfo
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


class TableSource(BaseModel):
    """How one table departs from the contract."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rename: dict[str, str] = Field({}, description="The source's column name: the contract's.")
    absent: frozenset[str] = Field(frozenset(), description="Columns that the company does not have at all.")


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


class _System(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

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
    """Files that land under ``landing/<system>/<table>/``."""

    kind: Literal["files"]
    arrival_from_name: str | None = Field(
        None, description="Pattern whose group is the ISO date or time of arrival; without, the file's mtime."
    )
    arrival_time: time = Field(time(0), description="Time of day for a name that gives only a date.")
    tables: dict[str, TableSource] = {}

    @field_validator("arrival_from_name")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
            if groups != 1:
                raise ValueError(
                    f"{pattern!r} must have one group, around the date: (\\d{{4}}-\\d{{2}}-\\d{{2}})"
                )
        return pattern

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
        if self.secret is None:
            return None
        variable = f"HRLOOP_SECRET_{self.secret.upper()}"
        file = settings.home / "secrets" / self.secret
        if variable not in os.environ and not file.exists():  # Settings.secret would make one up
            raise DeclarationError(f"systems.{system}.secret: set {variable}, or write the secret to {file}")
        return settings.secret(self.secret)


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


class Declaration(BaseModel):
    """All systems of a company, by the name they have in the contract."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
                for column in given.absent - set(table.columns):
                    raise ValueError(f"{where}.absent: {column} is not in the contract")
                for column in given.absent & set(table.required):
                    raise ValueError(f"{where}.absent: {column} is required and cannot be absent")
                for column in set(given.rename.values()) - set(table.columns):
                    raise ValueError(f"{where}.rename: {column} is not in the contract")
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
        return Declaration.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
            for problem in error.errors()
        )
        raise DeclarationError(f"{path}: {problems}") from error
