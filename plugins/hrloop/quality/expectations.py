"""What the gate asks of Great Expectations: four expectations, and the metrics that they share.

A metric is computed once for all expectations of a table that name it with the same arguments, over all new
batches at once: one aggregate each for completeness and row counts, however many fields, groups and batches.
``observed_value`` says the result in words; ``details.verdicts`` holds it in figures, batch by batch. No
value of a row is ever in a result, only counts, the names of groups and unknown terms of a taxonomy.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Any, ClassVar

import sqlalchemy as sa
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.sql.elements import Grouping

from hrloop import as_of as moment
from hrloop.quality.rules import BLANKS, missing, trimmed
from hrloop.sources.rows import DUPLICATE_KEY

NO_VALUE = "(missing)"  # the group of the rows whose group column is missing itself


class CompletenessMetric(TableMetricProvider):
    """Rows and missing values of each field, by batch and combination of group values."""

    metric_name = "hrloop.completeness"
    value_keys = ("fields", "groups")

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_domain_kwargs, metric_value_kwargs, **_) -> list[dict]:
        fields, groups = metric_value_kwargs["fields"], metric_value_kwargs["groups"]
        # As delivered: to trim a million group values costs more than to count; few different ones are left.
        by = [sa.literal_column(name).label(f"group_{number}") for number, name in enumerate(groups)]
        counts = [
            sa.literal_column(f"count(*) filter (where {missing(name)})").label(f"missing_{number}")
            for number, name in enumerate(fields)
        ]
        batch = sa.literal_column("_batch_id").label("batch")
        positions = [sa.literal_column(str(number + 1)) for number in range(len(by) + 1)]
        query = sa.select(batch, *by, sa.func.count().label("rows"), *counts)
        cells = _fetch(execution_engine, metric_domain_kwargs, query, positions)
        return [cell | {column.name: _group(cell[column.name]) for column in by} for cell in cells]


class RowsMetric(TableMetricProvider):
    """Rows of each batch by the rules that put them into quarantine; rows that stand have none."""

    metric_name = "hrloop.rows"
    value_keys = ()

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_domain_kwargs, metric_value_kwargs, **_) -> list[dict]:
        query = sa.select(
            sa.literal_column("_batch_id").label("batch"),
            sa.literal_column("_rules").label("rules"),
            sa.func.count().label("rows"),
        )
        by = [sa.literal_column("1"), sa.literal_column("2")]
        return _fetch(execution_engine, metric_domain_kwargs, query, by)


class TermsMetric(TableMetricProvider):
    """Terms of a column by batch: how many, how many unknown, and the most frequent unknown ones."""

    metric_name = "hrloop.terms"
    value_keys = ("field", "separator", "terms")

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_domain_kwargs, metric_value_kwargs, **_) -> list[dict]:
        field, separator = metric_value_kwargs["field"], metric_value_kwargs["separator"]
        source, _, _ = execution_engine.get_compute_domain(
            metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE
        )
        one = f"unnest(string_to_array({field}, '{separator}'))" if separator else field
        written = sa.select(
            sa.literal_column("_batch_id").label("batch"), sa.literal_column(one).label("term")
        ).select_from(source)
        written = written.subquery("written")
        term = sa.literal_column(f"lower({trimmed('term')})").label("term")
        counted = (
            sa.select(written.c.batch, term, sa.func.count().label("number"))
            .group_by(sa.literal_column("1"), sa.literal_column("2"))
            .subquery("counted")
        )
        unknown = counted.c.term != sa.all_(sa.literal(metric_value_kwargs["terms"], ARRAY(sa.Text)))
        examples = sa.func.array_agg(
            aggregate_order_by(counted.c.term, counted.c.number.desc(), counted.c.term)
        ).filter(unknown)
        query = (
            sa.select(
                counted.c.batch,
                sa.cast(sa.func.sum(counted.c.number), sa.BigInteger).label("terms"),
                sa.cast(
                    sa.func.coalesce(sa.func.sum(counted.c.number).filter(unknown), 0), sa.BigInteger
                ).label("unknown"),
                Grouping(sa.type_coerce(examples, ARRAY(sa.Text)))[1:5].label("examples"),
            )
            .where(counted.c.term.is_not(None), counted.c.term.not_in(["", "nan"]))
            .group_by(counted.c.batch)
        )
        return [dict(row._mapping) for row in execution_engine.execute_query(query)]


class ArrivalsMetric(TableMetricProvider):
    """When the last good delivery of each table arrived."""

    metric_name = "hrloop.arrivals"
    value_keys = ()

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_domain_kwargs, metric_value_kwargs, **_) -> dict:
        query = sa.select(sa.literal_column("table_name"), sa.literal_column("max(arrived_at)").label("last"))
        rows = _fetch(execution_engine, metric_domain_kwargs, query, [sa.literal_column("1")])
        return {row["table_name"]: row["last"] for row in rows}


def _fetch(engine: SqlAlchemyExecutionEngine, domain: dict, query: sa.Select, by: list) -> list[dict]:
    source, _, _ = engine.get_compute_domain(domain, domain_type=MetricDomainTypes.TABLE)
    return [dict(row._mapping) for row in engine.execute_query(query.select_from(source).group_by(*by))]


class ExpectFieldToBeComplete(BatchExpectation):
    """Each batch, and each of its groups that is large enough, has a value in the field often enough."""

    field: str
    fields: list[str]
    groups: list[str]
    minimum_percent: str
    group_minimum_rows: int

    metric_dependencies: ClassVar[tuple[str, ...]] = ("hrloop.completeness",)
    success_keys: ClassVar[tuple[str, ...]] = (
        "field",
        "fields",
        "groups",
        "minimum_percent",
        "group_minimum_rows",
    )

    def _validate(self, metrics: dict, **_: Any) -> dict:
        number, limit = self.fields.index(self.field), Fraction(self.minimum_percent)
        verdicts = []
        for batch, cells in _by(metrics["hrloop.completeness"], "batch").items():
            for place, group in enumerate([None, *self.groups]):
                if group == self.field:  # in its own groups a field is there or missing by definition
                    continue
                found = [
                    {
                        "batch": batch,
                        "group_column": group,
                        "group_value": value,
                        "rows": rows,
                        "missing": gaps,
                        "passed": complete_enough(rows, gaps, limit),
                    }
                    for value, rows, gaps in _rolled_up(
                        cells, f"group_{place - 1}" if group else None, number
                    )
                    if group is None or rows >= self.group_minimum_rows
                ]
                failed = [verdict for verdict in found if not verdict["passed"]]
                verdicts += failed or sorted(found, key=_share)[:1]
        worst = min(verdicts, key=_share, default=None)
        return _result(
            verdicts,
            "no rows"
            if worst is None
            else f"at worst {share(worst)} in {self.meta['files'][worst['batch']]}",
        )


class ExpectTermsToBeKnown(BatchExpectation):
    """In each batch hardly any term of the column is missing from the taxonomy."""

    field: str
    separator: str | None
    terms: list[str]
    maximum_percent: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("hrloop.terms",)
    success_keys: ClassVar[tuple[str, ...]] = ("field", "separator", "terms", "maximum_percent")

    def _validate(self, metrics: dict, **_: Any) -> dict:
        limit = Fraction(self.maximum_percent)
        verdicts = [
            {**row, "passed": Fraction(100 * row["unknown"], row["terms"]) <= limit}
            for row in metrics["hrloop.terms"]
        ]
        worst = max(verdicts, key=lambda row: Fraction(row["unknown"], row["terms"]), default=None)
        return _result(
            verdicts,
            "no terms"
            if worst is None
            else f"at worst {percent(worst['unknown'], worst['terms'], up=True)} % unknown"
            f" in {self.meta['files'][worst['batch']]}",
        )


class ExpectRowsToStand(BatchExpectation):
    """Each batch brought rows, every one of them is accounted for, and not all broke a rule."""

    rows_in: dict[str, int]

    metric_dependencies: ClassVar[tuple[str, ...]] = ("hrloop.rows",)
    success_keys: ClassVar[tuple[str, ...]] = ("rows_in",)

    def _validate(self, metrics: dict, **_: Any) -> dict:
        found = _by(metrics["hrloop.rows"], "batch")
        verdicts = []
        for batch, rows_in in self.rows_in.items():
            kinds = found.get(batch, [])
            rules = Counter()
            for kind in kinds:
                rules.update(dict.fromkeys(kind["rules"] or (), kind["rows"]))
            # A repeated row breaks no rule: another row that says the same, or says it later, stands.
            kept = sum(kind["rows"] for kind in kinds if set(kind["rules"] or ()) <= {DUPLICATE_KEY})
            verdicts.append(
                {
                    "batch": batch,
                    "rows": rows_in,
                    "kept": kept,
                    "accounted": sum(kind["rows"] for kind in kinds),
                    "rules": dict(sorted(rules.items())),
                }
            )
            verdicts[-1]["passed"] = kept > 0 and verdicts[-1]["accounted"] == rows_in
        kept, came = (sum(verdict[key] for verdict in verdicts) for key in ("kept", "rows"))
        return _result(verdicts, f"{kept:,} of {came:,} rows keep all rules")


class ExpectTableToBeFresh(BatchExpectation):
    """The last good delivery of a table is not older than its suite allows; what never came is not old."""

    source: str
    as_of: str
    maximum_age_days: float

    metric_dependencies: ClassVar[tuple[str, ...]] = ("hrloop.arrivals",)
    success_keys: ClassVar[tuple[str, ...]] = ("source", "as_of", "maximum_age_days")

    def _validate(self, metrics: dict, **_: Any) -> dict:
        last = metrics["hrloop.arrivals"].get(self.source)
        if last is None:
            return _result([], "never delivered")
        age = moment.parse(self.as_of) - last
        verdict = {
            "table": self.source,
            "last": moment.text(last),
            "days": age / timedelta(days=1),
            "passed": age <= timedelta(days=self.maximum_age_days),
        }
        return _result([verdict], f"{verdict['days']:.1f} days old")


def complete_enough(rows: int, gaps: int, minimum_percent: Fraction) -> bool:
    """Whether enough of the rows have a value, in whole numbers: 95.00 % of 95 is met, 94.99 % is not."""
    return rows > 0 and 100 * (rows - gaps) >= minimum_percent * rows


def percent(part: int, whole: int, up: bool = False) -> str:
    """A share with two decimals, rounded away from the limit that it is held to: 94.999 % reads 94.99."""
    hundredths = -(-part * 10_000 // whole) if up else part * 10_000 // whole
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def share(verdict: dict) -> str:
    """``94.00 %``, and of which group."""
    words = f"{percent(verdict['rows'] - verdict['missing'], verdict['rows'])} %"
    if verdict["group_column"]:
        words += f" of {verdict['group_column']}={verdict['group_value']}"
    return words


def _group(value: str | None) -> str:
    trimmed = (value or "").strip(BLANKS)
    return trimmed if trimmed.lower() not in ("", "nan") else NO_VALUE


def _rolled_up(cells: list[dict], group: str | None, number: int) -> Iterator[tuple[str | None, int, int]]:
    for value, members in _by(cells, group).items():
        yield value, sum(cell["rows"] for cell in members), sum(cell[f"missing_{number}"] for cell in members)


def _by(rows: list[dict], key: str | None) -> dict[Any, list[dict]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row[key] if key else None].append(row)
    return dict(sorted(groups.items(), key=lambda item: str(item[0])))


def _share(verdict: dict) -> tuple[Fraction, str]:
    return Fraction(verdict["rows"] - verdict["missing"], verdict["rows"]), str(verdict["group_value"])


def _result(verdicts: list[dict], words: str) -> dict:
    return {
        "success": all(verdict["passed"] for verdict in verdicts),
        "result": {"observed_value": words, "details": {"verdicts": verdicts}},
    }
