"""What a declaration would bring in, tried in a scratch warehouse: nothing of it touches the real one."""

# ruff: noqa: S608 - names in statements come from the contract; values are bound

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hrloop import as_of as moment
from hrloop import quality, sources
from hrloop.adopt.readiness import Readiness, assess
from hrloop.quality.quarantine import ROLE
from hrloop.quality.rules import RowRule, rules_of
from hrloop.quality.suites import Suite
from hrloop.settings import Settings
from hrloop.sources import contract, declaration
from hrloop.sources.contract import Table
from hrloop.sources.declaration import FilesSource
from hrloop.sources.rows import DETAILS, DUPLICATE_KEY, MISSING_KEY
from hrloop.warehouse import Warehouse, scratch

_LINES = 5  # shown of the rows of a file that break a rule


@dataclass(frozen=True)
class Problem:
    """What stands in the way of a clean load. ``lines``: the first of the rows; ``rows``: how many there are.

    No value of a row is told: it may describe a person.
    """

    table: str
    file: str | None
    lines: list[int]
    rows: int
    says: str

    def __str__(self) -> str:
        where = f"{self.file or 'all files'}"
        if self.lines:
            shown = ", ".join(map(str, self.lines)) + (", …" if self.rows > len(self.lines) else "")
            where += f", line{'s' * (self.rows > 1)} {shown}"
        return f"{self.table}: {where}: {self.says}"


@dataclass(frozen=True)
class Report:
    """What would come in, what stands in its way, and whether the data are good enough to begin with."""

    as_of: str
    rows_in: int
    problems: list[Problem]
    readiness: Readiness

    @property
    def is_clean(self) -> bool:
        return not self.problems and self.readiness.ready


def check(wh: Warehouse, settings: Settings, as_of: datetime) -> Report:
    """Take everything that is declared into a scratch warehouse, judge it, and answer the questions.

    Raises DeclarationError and SourceError as an ingest does.
    """
    as_of = moment.utc(as_of)
    declared = declaration.load(settings)
    suites = quality.load_suites(settings.project)
    with scratch(wh) as beside, tempfile.TemporaryDirectory() as home:
        (Path(home) / "secrets").symlink_to(settings.home / "secrets")
        apart = settings.model_copy(update={"home": Path(home), "landing_dir": settings.landing})
        report = sources.ingest(beside, apart, as_of)
        gate = quality.gate(beside, apart, as_of + _patience(suites))
        problems = [
            *_unmatched(declared),
            *_not_yet_there(report),
            *(Problem(r.table, r.file_name, [], 0, r.reason.partition(": ")[2]) for r in report.refused),
            *_rows(beside, suites),
            *(Problem(f.table, f.batch, [], 0, f.detail.removeprefix(f"{f.table}: ")) for f in gate.failures),
        ]
        return Report(moment.text(as_of), report.summary()["rows_in"], problems, assess(beside, apart, as_of))


def _patience(suites: dict[str, Suite]) -> timedelta:
    """How long a batch waits for rows of another table that it refers to; here everything has come."""
    hours = [reference.within_hours for suite in suites.values() for reference in suite.references]
    return timedelta(hours=max(hours, default=0))


def _unmatched(declared: declaration.Declaration) -> Iterator[Problem]:
    for system, source in declared.systems.items():
        if isinstance(source, FilesSource) and source.folder is not None:
            for name, table in source.tables.items():
                for pattern in table.files:
                    if not any(source.folder.glob(pattern)):
                        says = f"nothing in {source.folder} matches it; correct the pattern under files"
                        yield Problem(f"{system}.{name}", pattern, [], 0, says)


def _not_yet_there(report: sources.IngestReport) -> Iterator[Problem]:
    if report.waiting:
        says = f"{report.waiting} files arrived after the as_of; give a later one to take them"
        yield Problem("all tables", None, [], 0, says)


def _rows(wh: Warehouse, suites: dict[str, Suite]) -> Iterator[Problem]:
    """Rows that broke a rule, by table, file and rule."""
    tables = contract.load()
    held = " union all ".join(
        f"select '{name}' as name, batch_id, row_number, rules from {table.quarantine}"
        " where readmitted_as_of is null"
        for name, table in tables.items()
    )
    broken = wh.read(
        ROLE,
        f"""
        select held.name, b.file_name, rule, count(*) as rows,
            (array_agg(held.row_number order by held.row_number))[1:{_LINES}] as lines
        from ({held}) as held join loop.batches as b using (batch_id), unnest(held.rules) as rule
        group by 1, 2, 3, b.arrived_at order by 1, b.arrived_at, 2, 3""",
    )
    for row in broken.to_pylist():
        says = _says(tables[row["name"]], suites[row["name"]], row["rule"])
        yield Problem(row["name"], row["file_name"], row["lines"], row["rows"], says)


def _says(table: Table, suite: Suite, name: str) -> str:
    """What is wrong with rows that break a rule, and what to do."""
    if name == DUPLICATE_KEY:
        key = ", ".join(table.key)
        return f"{DETAILS[name]} ({key}); keep one row of a key, or deliver updated_at for a correction"
    if name == MISSING_KEY:
        return f"{DETAILS[name]} ({', '.join(table.key)}); give it one at the source"
    rule = next(rule for rule in rules_of(table, suite) if rule.name == name)
    return f"column {', '.join(rule.columns)}: {rule.says}; {_remedy(table, suite, rule)}"


def _remedy(table: Table, suite: Suite, rule: RowRule) -> str:
    column = table.columns[rule.columns[0]]
    if rule.name in {reference.rule for reference in suite.references}:
        return "deliver that row too, no later than this one"
    if rule.name.startswith("missing_"):
        return "fill it at the source"
    if rule.name.startswith("impossible_"):
        return "correct it, or declare its format under dates"
    if rule.name.startswith("unreadable_"):
        return "correct it, or declare how it is written under decimal or values"
    if column.values and rule.name.startswith("unknown_"):
        return "map the source's word under values"
    return f"correct it, or change the limit in expectations/{table.system}/{table.name}.yaml"
