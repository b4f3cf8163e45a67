"""The source contract as typed data: which tables come in, and what each of their columns is."""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

PATH = Path(__file__).with_name("contract.yaml")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,57}")  # with "_key" appended still a Postgres identifier


class ContractError(ValueError):
    """The contract cannot be used; the message names the file, the key and what is wrong there."""


class Refusal(ValueError):
    """A batch that the contract does not admit; the message names line and column, and the remedy.

    It never quotes personal data: reasons are read outside ``raw``.
    """


class Column(BaseModel):
    """One column of a source table. ``contract.yaml`` says what each mark means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text", "timestamp", "date", "number", "integer", "boolean", "list"]
    required: bool = False
    critical: bool = False
    personal: bool = False
    protected: bool = False
    person: bool = False
    values: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


class Table(BaseModel):
    """One source table: its key, its times and its columns, in the order of the contract."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    name: str
    description: str
    key: tuple[str, ...]
    happened_at: str
    columns: dict[str, Column]

    @field_validator("system", "name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: write lower-case letters, digits and underscores")
        return name

    @model_validator(mode="after")
    def _is_consistent(self) -> "Table":
        for name, column in self.columns.items():
            self._is_name(name)
            if column.person and not name.endswith("_id"):
                raise ValueError(f"columns.{name} is marked person, so its name must end in _id")
        if not self.key:
            raise ValueError("key is empty: name the columns that identify a row")
        for name in self.key:
            if name not in self.columns or not self.columns[name].required:
                raise ValueError(f"key names {name}, which must be among the columns and required")
        if self.happened_at not in self.columns:
            raise ValueError(f"happened_at names {self.happened_at}, which is not among the columns")
        if self.columns[self.happened_at].type not in ("timestamp", "date"):
            raise ValueError(f"happened_at names {self.happened_at}, which is neither timestamp nor date")
        if "updated_at" in self.columns and self.columns["updated_at"].type != "timestamp":
            raise ValueError("columns.updated_at must be a timestamp")
        return self

    @property
    def full_name(self) -> str:
        """As people write it: ``ats.applications``."""
        return f"{self.system}.{self.name}"

    @property
    def relation(self) -> str:
        """As Postgres knows it, inside ``raw``, ``quarantine`` and ``protected``: ``ats__applications``."""
        return f"{self.system}__{self.name}"

    @property
    def raw(self) -> str:
        return f"raw.{self.relation}"

    @property
    def quarantine(self) -> str:
        return f"quarantine.{self.relation}"

    @property
    def required(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.required]

    @property
    def critical(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.critical]

    @property
    def protected(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.protected]

    @property
    def identifiers(self) -> list[str]:
        """Columns that name a row, a document or a person."""
        return [name for name in self.columns if name in self.key or name.endswith("_id")]

    @property
    def keys_of_persons(self) -> dict[str, str]:
        """Each column that identifies a person, and the column of its pseudonym: ``candidate_key``."""
        return {
            name: name.removesuffix("_id") + "_key" for name, column in self.columns.items() if column.person
        }

    @property
    def withheld(self) -> list[str]:
        """Columns that only the loader reads: names, protected attributes, open identifiers of persons."""
        return [
            name
            for name, column in self.columns.items()
            if column.personal or column.protected or column.person
        ]


@cache
def load(path: Path = PATH) -> dict[str, Table]:
    """The contract, by full table name (``ats.applications``).

    Raises ContractError, naming the file and the key, when it is not YAML or breaks the schema.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not readable as YAML: {error}") from error
    tables = document.get("tables") if isinstance(document, dict) else None
    if not isinstance(tables, dict) or set(document) != {"tables"}:
        raise ContractError(f"{path}: write one top-level key, tables, with an entry for each table")
    return {name: _table(path, name, entry) for name, entry in tables.items()}


def _table(path: Path, full_name: str, entry: object) -> Table:
    system, dot, name = str(full_name).partition(".")
    if not dot or not isinstance(entry, dict):
        raise ContractError(f"{path}: tables.{full_name}: write <system>.<table> with its key and columns")
    try:
        return Table(**{"system": system, "name": name, **entry})
    except ValidationError as error:
        problems = "; ".join(
            ".".join(["tables", full_name, *map(str, problem["loc"])]) + f": {problem['msg']}"
            for problem in error.errors()
        )
        raise ContractError(f"{path}: {problems}") from error
