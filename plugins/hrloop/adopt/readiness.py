"""Whether a company's data are good enough to begin with: questions, each with its figure.

The figures are of a warehouse into which the data were taken and judged; limits and their reasons are in
``expectations/readiness.yaml``.
"""

# ruff: noqa: S608 - names in statements come from the contract; values are bound

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hrloop import as_of as moment
from hrloop.adopt import fates
from hrloop.adopt.evidence import is_snapshots
from hrloop.adopt.fates import Days
from hrloop.quality import SuiteError, load_suites
from hrloop.quality.quarantine import ROLE
from hrloop.quality.rules import typed
from hrloop.settings import Settings
from hrloop.sources import contract, declaration
from hrloop.sources.contract import Table
from hrloop.sources.rows import DUPLICATE_KEY, MISSING_KEY
from hrloop.usecase import Threshold
from hrloop.warehouse import Warehouse

FILE = Path("expectations/readiness.yaml")  # below the checkout
Verdict = Literal["yes", "partly", "no"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """From where on a figure answers yes, and from where on partly."""

    yes_from: float
    partly_from: float

    def verdict(self, figure: float) -> Verdict:
        """The answer that a figure gives."""
        if figure >= self.yes_from:
            return "yes"
        return "partly" if figure >= self.partly_from else "no"


class Question(Limits):
    """A question, its limits in per cent, where they come from, and what to do where it is not yes."""

    asks: str
    reason: Annotated[str, Field(min_length=10)]
    remedy: str


class FollowUp(Question):
    """A question for each of some numbers of months, with limits for the number of people besides."""

    months: tuple[int, ...]
    people: Limits


class Reviews(Question):
    """A question about people who were there for some months."""

    months: int


class Known(Question):
    """A question about rows that became known within some days."""

    within_days: float


class Questions(_Part):
    rows: Question
    keys: Question
    critical_fields: Question
    follow_up: FollowUp
    leavers: Question
    taxonomy: Question
    reviews: Reviews
    fresh: Question
    links: Question
    known: Known


class Declared(_Part):
    """``expectations/readiness.yaml``."""

    maximum_no_percent: Threshold
    questions: Questions


@dataclass(frozen=True)
class Answer:
    """An answer, its figure in per cent (None: nothing to measure), and what to do where it is not yes."""

    question: str
    asks: str
    answer: Verdict
    percent: float | None
    detail: str
    remedy: str | None


@dataclass(frozen=True)
class Readiness:
    """All answers, and whether few enough of them are no."""

    ready: bool
    verdict: str
    no_percent: float
    answers: list[Answer]


@cache
def load(project: Path) -> Declared:
    """The declared questions. Raises SuiteError, naming file and key, when they cannot be used."""
    path = project / FILE
    try:
        return Declared.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: not readable as YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SuiteError(f"{path}: {problems}") from error


def assess(wh: Warehouse, settings: Settings, as_of: datetime) -> Readiness:
    """Answer all questions about what was taken and judged; where there is nothing to measure, with no."""
    declared = load(settings.project)
    answers = list(_Assessment(wh, settings, moment.utc(as_of), declared.questions).answers())
    no = sum(answer.answer == "no" for answer in answers)
    percent, limit = 100 * no / len(answers), declared.maximum_no_percent.value
    figures = f"{no} of {len(answers)} answers are no ({percent:.0f} %, limit {limit:g} %)"
    if percent > limit:
        return Readiness(False, f"Data quality first: {figures}.", percent, answers)
    return Readiness(True, f"The data will do: {figures}.", percent, answers)


@dataclass(frozen=True)
class _Assessment:
    wh: Warehouse
    settings: Settings
    as_of: datetime
    ask: Questions

    def answers(self) -> Iterator[Answer]:
        yield self._rows("rows", "others", "another rule than that of their key")
        yield self._rows("keys", "keys", "the rule of their key")
        yield self._critical_fields()
        yield from self._follow_up()
        yield self._leavers()
        yield self._taxonomy()
        yield self._reviews()
        yield self._fresh()
        yield self._links()
        yield self._known()

    # What the answers rest on ---------------------------------------------------------------------------

    def _read(self, statement: str, **values) -> pd.DataFrame:
        return self.wh.read(ROLE, statement, **values).to_pandas()

    @cached_property
    def _counts(self) -> pd.DataFrame:
        """Of each table that came in: rows in, rows held for their key, and for another rule."""
        keys = f"'{{{MISSING_KEY},{DUPLICATE_KEY}}}'::text[]"
        held = " union all ".join(
            f"select '{table.full_name}' as name, rules from {table.quarantine}"
            " where readmitted_as_of is null"
            for table in contract.load().values()
        )
        return self._read(
            f"""
            with came as (
                select system || '.' || table_name as name, sum(rows_in)::bigint as rows_in
                from loop.batches where status <> 'refused' group by 1
            ), held as ({held})
            select came.name, came.rows_in,
                count(rules) filter (where rules && {keys}) as keys,
                count(rules) filter (where not rules && {keys}) as others
            from came left join held using (name) where came.rows_in > 0 group by 1, 2 order by 1"""
        )

    @cached_property
    def _people(self) -> pd.DataFrame:
        """hired_on, last_seen, terminated_on, kind, reviewed: a row for each employee.

        A termination that is held is one all the same; a kind that the contract does not know is none.
        """
        tables = contract.load()
        employees, reviews = (
            typed(tables[name], tables[name].raw) for name in ("hris.employees", "hris.reviews")
        )
        terminations = tables["hris.terminations"]
        leavers = typed(terminations, _delivered(terminations))
        frame = self._read(
            f"""
            with employees as ({employees}), leavers as ({leavers}), reviews as ({reviews}),
            people as (
                select distinct on (employee_id) employee_id, hired_on,
                    max(valid_from) over (partition by employee_id) as last_seen
                from employees where hired_on is not null order by employee_id, valid_from desc
            ),
            departures as (
                select distinct on (employee_id) employee_id, terminated_on, kind
                from leavers where terminated_on is not null order by employee_id, terminated_on desc
            ),
            rated as (select distinct employee_id from reviews where rating is not null)
            select hired_on, last_seen, terminated_on, kind, rated.employee_id is not null as reviewed
            from people left join departures using (employee_id) left join rated using (employee_id)"""
        )
        days = ["hired_on", "last_seen", "terminated_on"]
        kind = frame["kind"].where(frame["kind"].isin(terminations.columns["kind"].values))
        return frame.assign(kind=kind, **{name: pd.to_datetime(frame[name]) for name in days})

    @cached_property
    def _days(self) -> Days:
        employees = contract.load()["hris.employees"]
        rows = self._read(
            "select employee_id, valid_from"
            f" from ({typed(employees, employees.raw)}) as e where valid_from is not null"
        )
        day = pd.to_datetime(rows["valid_from"])
        last = " union all ".join(
            f"select max(_happened_at) as day from {table.raw} where _happened_at <= :as_of"
            for table in contract.load().values()
            if table.system == employees.system
        )
        end = self._read(f"select max(day) as day from ({last}) as days", as_of=self.as_of)["day"][0]
        snapshots = is_snapshots(rows["employee_id"], day)
        # Who was hired before leaving was recorded, and is there, must have stayed: they tell nothing.
        first_exit = self._people["terminated_on"].min()
        return Days(
            begin=day.min() if snapshots or pd.isna(first_exit) else max(day.min(), first_exit),
            end=pd.NaT if pd.isna(end) else pd.Timestamp(end).tz_convert(None).normalize(),
            last_snapshot=day.max() if snapshots else None,
        )

    # Answers --------------------------------------------------------------------------------------------

    def _answer(self, name: str, percent: float | None, detail: str) -> Answer:
        question = getattr(self.ask, name)
        verdict = "no" if percent is None else question.verdict(percent)
        return Answer(name, question.asks, verdict, percent, detail, _remedy(question, verdict))

    def _rows(self, name: str, held: str, rule: str) -> Answer:
        """The share of rows that stand, in the table where it is least."""
        if self._counts.empty:
            return self._answer(name, None, "no row came in")
        shares = self._counts[held] / self._counts["rows_in"]
        worst = self._counts.loc[shares.idxmax()]
        detail = f"{self._counts[held].sum():,} of {self._counts['rows_in'].sum():,} rows break {rule}"
        if worst[held]:
            detail += f", most of them in {worst['name']}: {worst[held]:,} of {worst['rows_in']:,}"
        return self._answer(name, 100 * (1 - shares.max()), detail)

    def _critical_fields(self) -> Answer:
        found = self._read(
            """select r.system || '.' || r.table_name as table_name, r.field, bool_and(r.passed) as passed,
                min(r.observed) as least
            from loop.gate_results as r join loop.batches as b using (batch_id)
            where r.check_name = 'completeness' and b.status <> 'superseded' group by 1, 2 order by 1, 2"""
        )
        declared, suites = declaration.load(self.settings), load_suites(self.settings.project)
        told = [
            f"{row.table_name}.{row.field} is {row.least:.1f} % complete at worst"
            for row in found.itertuples()
            if not row.passed
        ]
        told += [
            f"{name}.{field} is declared absent"
            for name in self._counts["name"]
            if suites[name].completeness
            for field in suites[name].completeness.critical
            if field in declared.absent(name)
        ]
        asked = int(found["passed"].sum()) + len(told)
        if not asked:
            return self._answer("critical_fields", None, "no critical field came in")
        detail = "; ".join([f"{asked - len(told)} of {asked} fields keep their limit", *told])
        return self._answer("critical_fields", 100 * (asked - len(told)) / asked, detail)

    def _follow_up(self) -> Iterator[Answer]:
        question = self.ask.follow_up
        for months in question.months:
            found = fates.after(self._people, self._days, months)
            percent = 100 * found.known / found.reached if found.reached else None
            verdicts = {question.verdict(percent or 0), question.people.verdict(found.known)}
            verdict = next(answer for answer in ("no", "partly", "yes") if answer in verdicts)
            detail = (
                f"the data reach so far for {found.reached:,} people: {found.stayed:,} stayed,"
                f" {found.left:,} left, {found.censored:,} censored (layoff, retirement, end of contract),"
                f" {found.unknown:,} unknown"
            )
            asks = question.asks.format(months=months)
            remedy = _remedy(question, verdict)
            yield Answer(f"follow_up_{months}_months", asks, verdict, percent, detail, remedy)

    def _leavers(self) -> Answer:
        gone = int(fates.vanished(self._people, self._days).sum())
        told = self._people["terminated_on"].notna()
        known = int((told & self._people["kind"].notna()).sum())
        leavers = int(told.sum()) + gone
        if not leavers:
            return self._answer("leavers", None, "nobody left, as far as the data say")
        detail = f"it is known of {known:,} of {leavers:,} people who left"
        if gone:
            detail += (
                f"; {gone:,} people are missing from the last snapshot and have no termination. None is made"
                " up: until one is delivered the warehouse takes them for employed"
            )
        return self._answer("leavers", 100 * known / leavers, detail)

    def _taxonomy(self) -> Answer:
        found = self._read(
            """select r.system || '.' || r.table_name || '.' || r.field as field,
                sum(r.observed * r.rows) / sum(r.rows) as unknown
            from loop.gate_results as r join loop.batches as b using (batch_id)
            where r.check_name = 'taxonomy' and b.status <> 'superseded' group by 1 order by 2 desc, 1"""
        )
        if found.empty:
            return self._answer("taxonomy", None, "no job family and no skill came in")
        shares = ", ".join(f"{row.unknown:.1f} % of {row.field}" for row in found.itertuples())
        return self._answer("taxonomy", 100 - float(found["unknown"][0]), f"unknown words: {shares}")

    def _reviews(self) -> Answer:
        there = self._people[fates.present(self._people, self._days, self.ask.reviews.months)]
        if there.empty:
            return self._answer("reviews", None, "nobody was there that long, as far as the data reach")
        reviewed = int(there["reviewed"].sum())
        detail = f"{reviewed:,} of {len(there):,} people have a rating on the scale"
        return self._answer("reviews", 100 * reviewed / len(there), detail)

    def _fresh(self) -> Answer:
        found = self._read(
            "select system || '.' || table_name as name, passed, observed, threshold from loop.gate_results"
            " where check_name = 'freshness' order by 1"
        )
        if found.empty:
            return self._answer("fresh", None, "no table passed the gate")
        old = found[~found["passed"].astype(bool)]
        told = [f"{row.name} is {row.observed:.0f} days old" for row in old.itertuples(index=False)]
        detail = "; ".join([f"{len(found) - len(old)} of {len(found)} tables are", *told])
        return self._answer("fresh", 100 * (len(found) - len(old)) / len(found), detail)

    def _links(self) -> Answer:
        """The share of keys of other tables that these have, in the table where it is least."""
        found = self._read(
            " union all ".join(
                f"""select '{name}.{reference.column}' as link,
                    count(*) filter (where known.key is not null)::bigint as known, count(*)::bigint as rows
                from {_delivered(contract.load()[name])} as r left join (
                    select distinct {reference.column} as key from {contract.load()[reference.table].raw}
                ) as known on known.key = r.{reference.column} having count(*) > 0"""
                for name, suite in load_suites(self.settings.project).items()
                for reference in suite.references
            )
        )
        if found.empty:
            return self._answer("links", None, "no table refers to another")
        shares = found["known"] / found["rows"]
        least = found.loc[shares.idxmin()]
        detail = f"{least['known']:,} of {least['rows']:,} rows of {least['link']}, the fewest, find theirs"
        return self._answer("links", 100 * float(shares.min()), detail)

    def _known(self) -> Answer:
        """Of rows that happened after the first of their table was known: before, none could be in time. Of
        all rows where there are no others, as of a single survey."""
        days = self.ask.known.within_days
        rows = " union all ".join(
            f"select '{table.full_name}' as name, _happened_at, _known_at from {table.raw}"
            for table in contract.load().values()
        )
        found = self._read(
            f"""
            with rows as ({rows}),
            first as (select name, min(_known_at) as known from rows group by 1),
            judged as (
                select name, _happened_at > known as since,
                    (_known_at <= _happened_at + interval '{days:g} days')::int as soon
                from rows join first using (name)
            )
            select name, coalesce(avg(soon) filter (where since), avg(soon))::float as soon
            from judged group by 1 order by 2, 1"""
        )
        if found.empty:
            return self._answer("known", None, "no row came in")
        late = found[found["soon"] * 100 < self.ask.known.yes_from]
        told = [f"{100 * row.soon:.0f} % in {row.name}" for row in late.itertuples(index=False)]
        detail = f"{len(found) - len(late)} of {len(found)} tables" + (f"; {', '.join(told)}" if told else "")
        return self._answer("known", 100 * float(found["soon"].mean()), detail)


def _delivered(table: Table) -> str:
    """SQL: all rows of a table that came in, held or not, as a relation with the columns of the contract."""
    held = ", ".join(f"btrim(original->>'{name}')" for name in table.columns)
    return (
        f"(select _batch_id, {', '.join(table.columns)} from {table.raw}"
        f" union all select batch_id, {held} from {table.quarantine} where readmitted_as_of is null)"
    )


def _remedy(question: Question, verdict: Verdict) -> str | None:
    return None if verdict == "yes" else question.remedy
