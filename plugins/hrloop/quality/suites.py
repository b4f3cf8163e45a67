"""The suites in ``expectations/``: what makes a delivery of each source table good enough.

One file per table of the source contract. A suite names thresholds, each with its reason; what follows from
the contract alone (types, required fields, allowed values) need not be repeated in it.
"""

import csv
import hashlib
import json
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hrloop.sources.contract import Table, load

SEEDS = Path("dbt/seeds")  # below the checkout: the taxonomies that staging maps by


class SuiteError(ValueError):
    """A suite cannot be used; the message names the file, the key and the remedy."""


def _exactly(value: object) -> Fraction:
    """A percentage as the exact decimal that was written, so that 95.00 % is not missed by a rounding."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError("write a number of per cent, such as 95")
    return value if isinstance(value, Fraction) else Fraction(str(value))


Percent = Annotated[Fraction, BeforeValidator(_exactly), Field(ge=0, le=100)]
Reason = Annotated[str, Field(min_length=10, description="Where the threshold comes from.")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,62}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Completeness(_Part):
    """How many of the delivered rows must have a value, over the batch and in each group."""

    critical: tuple[str, ...]
    minimum_percent: Percent
    reason: Reason
    groups: tuple[str, ...] = ()
    group_minimum_rows: Annotated[int, Field(ge=1)]
    group_reason: Reason


class Freshness(_Part):
    """How old the last good delivery may be; None where any age will do."""

    maximum_age_days: Annotated[float, Field(gt=0)] | None
    reason: Reason


class Taxonomy(_Part):
    """A column whose terms must be in a list of synonyms (a seed with the columns synonym, canonical)."""

    column: str
    synonyms: str
    maximum_unmapped_percent: Percent
    reason: Reason


class Rule(_Part):
    """A hard rule on a row. ``breaks`` is an SQL condition, true of a row that breaks the rule.

    It sees the columns of the contract with their types (NULL when missing or unreadable) and
    ``_known_at``; columns that are personal or protected it does not see.
    """

    name: Name
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    breaks: str
    says: str
    reason: Reason


class Reference(_Part):
    """A column that must hold a key which another table brought, at most so many hours after the row."""

    column: str
    table: str
    within_hours: Annotated[float, Field(ge=0)]
    reason: Reason

    @property
    def rule(self) -> str:
        return f"unknown_{self.column}"


class Extra(_Part):
    """An expectation of Great Expectations' own, judged batch by batch."""

    type: Annotated[str, Field(pattern=r"^expect_[a-z_]+$")]
    kwargs: dict[str, Any]
    reason: Reason


class Suite(_Part):
    """All that is expected of one source table."""

    table: str
    freshness: Freshness
    completeness: Completeness | None = None
    taxonomy: tuple[Taxonomy, ...] = ()
    references: tuple[Reference, ...] = ()
    rules: tuple[Rule, ...] = ()
    expectations: tuple[Extra, ...] = ()


@cache
def load_suites(project: Path) -> dict[str, Suite]:
    """The suites of the checkout by full table name, each after those that it refers to.

    Raises SuiteError when a file is missing, is not YAML, breaks the schema, or does not fit the contract.
    """
    contract = load()
    folder = project / "expectations"
    for path in sorted(folder.glob("*/*.y*ml")):
        if f"{path.parent.name}.{path.stem}" not in contract:
            raise SuiteError(
                f"{path}: the source contract has no table {path.parent.name}.{path.stem};"
                " name the file <system>/<table>.yaml or remove it"
            )
    suites = {
        name: _load(folder / table.system / f"{table.name}.yaml", table) for name, table in contract.items()
    }
    return {name: suites[name] for name in _in_order(suites, folder)}


def synonyms(project: Path, taxonomy: Taxonomy) -> list[str]:
    """The terms that the taxonomy knows, in lower case and trimmed, sorted."""
    with (project / SEEDS / taxonomy.synonyms).open(encoding="utf-8", newline="") as file:
        return sorted({row["synonym"].strip().lower() for row in csv.DictReader(file)})


def fingerprint(project: Path, suite: Suite, absent: Iterable[str]) -> str:
    """Hash of all that a verdict by this suite rests on besides the rows."""
    terms = [synonyms(project, taxonomy) for taxonomy in suite.taxonomy]
    content = json.dumps([suite.model_dump(mode="json"), terms, sorted(absent)], default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _load(path: Path, table: Table) -> Suite:
    if not path.exists():
        raise SuiteError(f"{path}: missing; every source table needs a suite, copy a neighbour and adapt it")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict):
        raise SuiteError(f"{path}: write keys such as table, completeness, freshness and rules")
    try:
        suite = Suite(**document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {_remedy(problem)}"
            for problem in error.errors()
        )
        raise SuiteError(f"{path}: {problems}") from error
    for key, problem in _misfits(suite, table, path):
        raise SuiteError(f"{path}: {key}: {problem}")
    return suite


def _remedy(problem: dict) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key; correct its spelling or remove it"
    if problem["type"] == "missing":
        what = "say where the number comes from" if str(problem["loc"][-1]).endswith("reason") else "add it"
        return f"missing; {what}"
    return problem["msg"]


def _misfits(suite: Suite, table: Table, path: Path):
    """(key, what is wrong and how to mend it) for each thing in the suite that the contract contradicts."""
    contract = load()
    open_columns = set(table.columns) - set(table.withheld)
    critical = suite.completeness.critical if suite.completeness else ()
    if suite.table != table.full_name:
        yield "table", f"is {suite.table}, but the file is that of {table.full_name}; make them agree"
    if sorted(critical) != sorted(table.critical):
        yield (
            "completeness.critical",
            f"is [{', '.join(critical)}], but the contract marks [{', '.join(table.critical)}] as critical;"
            " make them agree",
        )
    for column in suite.completeness.groups if suite.completeness else ():
        if column not in open_columns:
            yield (
                "completeness.groups",
                f"{column} is no column to group by; use one of {_listed(open_columns)}",
            )
    for number, taxonomy in enumerate(suite.taxonomy):
        if taxonomy.column not in open_columns:
            yield (
                f"taxonomy.{number}.column",
                f"{taxonomy.column} is unknown; use one of {_listed(open_columns)}",
            )
        seed = path.parents[2] / SEEDS / taxonomy.synonyms
        if not seed.is_file():
            yield f"taxonomy.{number}.synonyms", f"there is no {seed}; add the seed or correct the name"
        elif seed.read_text(encoding="utf-8").partition("\n")[0].strip() != "synonym,canonical":
            yield f"taxonomy.{number}.synonyms", f"{seed} must begin with the header synonym,canonical"
    for number, reference in enumerate(suite.references):
        if reference.column not in table.columns:
            yield (
                f"references.{number}.column",
                f"{reference.column} is unknown; use a column of the contract",
            )
        target = contract.get(reference.table)
        if target is None or target.key[0] != reference.column:
            yield (
                f"references.{number}.table",
                f"{reference.table} is no table whose key begins with {reference.column}; name that table",
            )
    for number, rule in enumerate(suite.rules):
        for column in set(rule.columns) - open_columns:
            yield (
                f"rules.{number}.columns",
                f"{column} is unknown, personal or protected; use one of {_listed(open_columns)}",
            )
    for number, extra in enumerate(suite.expectations):
        given = [
            value
            for argument in extra.kwargs.values()
            for value in (argument if isinstance(argument, list) else [argument])
        ]
        for column in (name for name in table.withheld if name in given):
            yield (
                f"expectations.{number}.kwargs",
                f"{column} names or describes a person, and results show values; leave it out",
            )
    names = [rule.name for rule in suite.rules] + [reference.rule for reference in suite.references]
    for name in {name for name in names if names.count(name) > 1}:
        yield "rules", f"{name} stands there twice; give each rule a name of its own"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _in_order(suites: dict[str, Suite], folder: Path) -> list[str]:
    """Names such that a table comes after the tables that it refers to."""
    order: list[str] = []
    waiting = dict(suites)
    while waiting:
        ready = [
            name
            for name, suite in waiting.items()
            if not ({reference.table for reference in suite.references} & (waiting.keys() - {name}))
        ]
        if not ready:
            raise SuiteError(
                f"{folder}: references of {', '.join(waiting)} go round in a circle; remove one of them"
            )
        order += ready
        for name in ready:
            del waiting[name]
    return order
