"""From suites to expectations, and from the results of Great Expectations to rows of loop.gate_results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from great_expectations.exceptions import ExpectationNotFoundError
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.registry import get_expectation_impl

from hrloop import as_of as moment
from hrloop.quality.expectations import (
    ExpectFieldToBeComplete,
    ExpectRowsToStand,
    ExpectTableToBeFresh,
    ExpectTermsToBeKnown,
    percent,
)
from hrloop.quality.gate import REMEDY, Batch
from hrloop.quality.rules import typed
from hrloop.quality.suites import Completeness, Extra, Suite, SuiteError, Taxonomy, synonyms
from hrloop.quality.validation import Check
from hrloop.quality.verdicts import Result
from hrloop.sources.contract import Table

Reader = Callable[[dict], Iterable[Result]]


@dataclass(frozen=True)
class Plan:
    """A check, and for each of its expectations how to read its result."""

    check: Check
    readers: list[Reader]


def plans(
    project: Path, table: Table, suite: Suite, batches: list[Batch], absent: frozenset[str]
) -> list[Plan]:
    """All checks on new batches of one table: one plan for them together, and one per batch for extras.

    Columns that the company declares absent are left out.
    """
    meta = {"files": {batch.batch_id: batch.file_name for batch in batches}}
    pairs = [_rows(table, batches)]
    columns = {}
    if suite.completeness:
        fields = [name for name in suite.completeness.critical if name not in absent]
        groups = [name for name in suite.completeness.groups if name not in absent]
        pairs += [_complete(table, suite.completeness, name, fields, groups, batches) for name in fields]
        columns |= dict.fromkeys([*fields, *groups])
    for taxonomy in suite.taxonomy:
        if taxonomy.column not in absent:
            pairs.append(_known(project, table, taxonomy, batches))
            columns[taxonomy.column] = None
    for expectation, _ in pairs:
        expectation.meta = meta
    together = Check(
        table.full_name,
        table.full_name,
        delivered(table, batches, list(columns)),
        [pair[0] for pair in pairs],
    )
    return [
        Plan(together, [pair[1] for pair in pairs]),
        *(_extras(table, suite.expectations, batch) for batch in batches if suite.expectations),
    ]


def delivered(table: Table, batches: list[Batch], columns: list[str]) -> str:
    """SQL: all rows of the batches as they were delivered, with the rules that those in quarantine broke."""
    ids = "'{" + ",".join(batch.batch_id for batch in batches) + "}'"
    raw = "".join(f", {name}" for name in columns)
    held = "".join(f", original->>'{name}'" for name in columns)
    return (
        f"select _batch_id, null::text[] as _rules{raw} from {table.raw}"  # noqa: S608
        f" where _batch_id = any({ids}) union all"
        f" select batch_id, rules{held} from {table.quarantine}"
        f" where batch_id = any({ids}) and readmitted_as_of is null"
    )


def freshness(suites: dict[str, Suite], as_of: datetime) -> Plan:
    """How old the last delivery that passed is, for each table that may not grow old."""
    limits = {
        name: suite.freshness
        for name, suite in suites.items()
        if suite.freshness.maximum_age_days is not None
    }
    query = (
        "select system || '.' || table_name as table_name, arrived_at from loop.batches"  # noqa: S608
        f" where status = 'passed' and arrived_at <= '{moment.text(as_of)}'"
    )
    expectations = [
        ExpectTableToBeFresh(
            source=name,
            as_of=moment.text(as_of),
            maximum_age_days=limit.maximum_age_days,
            description=f"The last good delivery of {name} is at most {limit.maximum_age_days:g} days old.",
            notes=limit.reason,
        )
        for name, limit in limits.items()
    ]

    def read(found: dict) -> Iterable[Result]:
        for verdict in found["result"]["details"]["verdicts"]:
            name, limit = verdict["table"], limits[verdict["table"]].maximum_age_days
            detail = (
                f"{name}: the last delivery that passed arrived at {verdict['last']},"
                f" {verdict['days']:.1f} days before {moment.text(as_of)} (limit {limit:g} days)."
            )
            if not verdict["passed"]:
                detail += " Deliver a newer export of the table."
            yield Result(
                as_of, name, None, "freshness", None, None, None, verdict["days"], limit, None,
                verdict["passed"], detail,
            )  # fmt: skip

    return Plan(Check("loop.freshness", "loop.batches", query, expectations), [read] * len(expectations))


def _rows(table: Table, batches: list[Batch]) -> tuple[ExpectRowsToStand, Reader]:
    by_id = {batch.batch_id: batch for batch in batches}

    def read(found: dict) -> Iterable[Result]:
        for verdict in found["result"]["details"]["verdicts"]:
            batch, rows = by_id[verdict["batch"]], verdict["rows"]
            broken = ", ".join(f"{rule} {number:,}" for rule, number in verdict["rules"].items())
            where = f"{table.full_name}: batch {batch.file_name}"
            if rows == 0:
                detail = (
                    f"{where} has no rows. It is held back; deliver it again under the same name with an"
                    " addition, such as -corrected."
                )
            elif verdict["accounted"] != rows:
                detail = (
                    f"{where} brought {rows:,} rows, but raw and quarantine hold {verdict['accounted']:,} of"
                    " them. Rows were changed by hand; restore them, or deliver the file again with a change."
                )
            elif not verdict["passed"]:
                detail = (
                    f"{where}: all {rows:,} rows broke a rule ({broken}) and are in {table.quarantine}."
                    " Deliver a corrected file with the same keys, or what was missing, and re-admit"
                    " the rows."
                )
            else:
                detail = f"{where}: {verdict['kept']:,} of {rows:,} rows keep all rules."
            yield Result(
                batch.arrived_at, table.full_name, batch.batch_id, "rows", None, None, None,
                verdict["kept"], 1, rows, verdict["passed"], detail,
            )  # fmt: skip
            for rule, number in verdict["rules"].items():
                words = f"{where}: {number:,} of {rows:,} rows are in {table.quarantine} for {rule}."
                yield Result(
                    batch.arrived_at, table.full_name, batch.batch_id, f"rule {rule}", None, None, None,
                    number, None, rows, True, words,
                )  # fmt: skip

    return (
        ExpectRowsToStand(
            rows_in={batch.batch_id: batch.rows_in for batch in batches},
            description="Each batch brings rows, all are in raw or in quarantine, and not all broke a rule.",
        ),
        read,
    )


def _complete(
    table: Table,
    declared: Completeness,
    name: str,
    fields: list[str],
    groups: list[str],
    batches: list[Batch],
) -> tuple[ExpectFieldToBeComplete, Reader]:
    by_id = {batch.batch_id: batch for batch in batches}
    limit = f"{float(declared.minimum_percent):g}"

    def read(found: dict) -> Iterable[Result]:
        verdicts = found["result"]["details"]["verdicts"]
        for verdict in verdicts:
            batch, rows, gaps = by_id[verdict["batch"]], verdict["rows"], verdict["missing"]
            place = f"in batch {batch.file_name}"
            if verdict["group_column"]:
                place = f"in {verdict['group_column']}={verdict['group_value']} of batch {batch.file_name}"
            detail = (
                f"{table.full_name}: {name} is {percent(rows - gaps, rows)} % complete {place}"
                f" (limit {limit} %): {gaps:,} of {rows:,} rows lack it"
            )
            if not verdict["passed"]:
                worst = None if verdict["group_column"] else _worst_group(verdicts, batch)
                detail += f", worst in {worst}" if worst else ""
            yield Result(
                batch.arrived_at, table.full_name, batch.batch_id, "completeness", name,
                verdict["group_column"], verdict["group_value"], 100 * (rows - gaps) / rows,
                float(declared.minimum_percent), rows, verdict["passed"],
                detail + ("." if verdict["passed"] else f". {REMEDY}"),
            )  # fmt: skip

    words = f"{name} has a value in at least {limit} % of the rows of each batch"
    if others := [group for group in groups if group != name]:
        words += f", and of each {' and '.join(others)} with at least {declared.group_minimum_rows} rows"
    return (
        ExpectFieldToBeComplete(
            field=name,
            fields=fields,
            groups=groups,
            minimum_percent=str(declared.minimum_percent),
            group_minimum_rows=declared.group_minimum_rows,
            description=f"{words}.",
            notes=f"{declared.reason} {declared.group_reason if others else ''}".strip(),
        ),
        read,
    )


def _worst_group(verdicts: list[dict], batch: Batch) -> str | None:
    """The group of the batch that lacks most, in words: ``source_channel=agency (85.33 % of 300 rows)``."""
    groups = [v for v in verdicts if v["batch"] == batch.batch_id and v["group_column"]]
    if not groups:
        return None
    worst = max(groups, key=lambda v: (v["missing"] / v["rows"], v["group_column"], v["group_value"]))
    complete = percent(worst["rows"] - worst["missing"], worst["rows"])
    return f"{worst['group_column']}={worst['group_value']} ({complete} % of {worst['rows']:,} rows)"


def _known(
    project: Path, table: Table, taxonomy: Taxonomy, batches: list[Batch]
) -> tuple[ExpectTermsToBeKnown, Reader]:
    by_id = {batch.batch_id: batch for batch in batches}
    name, limit = taxonomy.column, f"{float(taxonomy.maximum_unmapped_percent):g}"

    def read(found: dict) -> Iterable[Result]:
        for verdict in found["result"]["details"]["verdicts"]:
            batch, terms, unknown = by_id[verdict["batch"]], verdict["terms"], verdict["unknown"]
            detail = (
                f"{table.full_name}: {percent(unknown, terms, up=True)} % of the {terms:,} {name} in batch"
                f" {batch.file_name} are not in {taxonomy.synonyms} (limit {limit} %)"
            )
            if verdict["examples"]:
                detail += f", most often {', '.join(map(repr, verdict['examples']))}"
            remedy = f". Add them to the seed as synonyms, or correct them at the source. {REMEDY}"
            yield Result(
                batch.arrived_at, table.full_name, batch.batch_id, "taxonomy", name, None, None,
                100 * unknown / terms, float(taxonomy.maximum_unmapped_percent), terms, verdict["passed"],
                detail + ("." if verdict["passed"] else remedy),
            )  # fmt: skip

    return (
        ExpectTermsToBeKnown(
            field=name,
            separator="|" if table.columns[name].type == "list" else None,
            terms=synonyms(project, taxonomy),
            maximum_percent=str(taxonomy.maximum_unmapped_percent),
            description=f"At most {limit} % of the terms in {name} are missing from {taxonomy.synonyms}.",
            notes=taxonomy.reason,
        ),
        read,
    )


def _extras(table: Table, extras: tuple[Extra, ...], batch: Batch) -> Plan:
    """The suite's own expectations of Great Expectations, on one batch with its columns in their types."""
    rows = f"({delivered(table, [batch], list(table.columns))})"
    expectations = [_own(table, number, extra) for number, extra in enumerate(extras)]

    def reader(extra: Extra) -> Reader:
        field = extra.kwargs.get("column")

        def read(found: dict) -> Iterable[Result]:
            seen = found["result"].get("observed_value", found["result"].get("unexpected_percent"))
            detail = (
                f"{table.full_name}: {extra.type} {'holds' if found['success'] else 'does not hold'} in batch"
                f" {batch.file_name} ({_arguments(extra)}; observed {seen})."
            )
            yield Result(
                batch.arrived_at, table.full_name, batch.batch_id, extra.type, field, None, None,
                float(seen) if isinstance(seen, int | float) else None, None, batch.rows_in,
                bool(found["success"]), detail + ("" if found["success"] else f" {REMEDY}"),
            )  # fmt: skip

        return read

    name = f"{table.full_name}-own"
    check = Check(name, f"{name} {batch.batch_id}", typed(table, rows), expectations)
    return Plan(check, [reader(extra) for extra in extras])


def _own(table: Table, number: int, extra: Extra) -> Expectation:
    try:
        return get_expectation_impl(extra.type)(**extra.kwargs, notes=extra.reason)
    except (ExpectationNotFoundError, ValueError) as error:  # pydantic's own is a ValueError
        raise SuiteError(
            f"expectations/{table.system}/{table.name}.yaml: expectations.{number}: {error};"
            " see the gallery of Great Expectations for the type and its kwargs"
        ) from error


def _arguments(extra: Extra) -> str:
    return ", ".join(f"{key} {value}" for key, value in extra.kwargs.items())
