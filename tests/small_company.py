"""A few dozen applications with everything that goes wrong in time, and what should be made of them.

``random_rows`` draws source rows in which much becomes known late and is corrected later still; ``insert``
puts them into a warehouse as the loader and the gate would leave them. The functions below say in plain
Python, row by row, what the warehouse should know as of a time: the reference that SQL is held to.
"""

import itertools
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from hrloop import as_of as moment
from hrloop import transform
from hrloop.settings import Settings
from hrloop.sources import contract, ensure_tables
from hrloop.warehouse import Warehouse
from hrloop.warehouse.tables import batches, decisions
from sqlalchemy import MetaData, Table, create_engine
from sqlalchemy import insert as insert_rows

_numbers = itertools.count(1)

START = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2025, 6, 1, tzinfo=UTC)
GRACE, GOOD = 60, 3.5
ENTERED_DAYS, EARLY = 45, 4
DECLARED = {
    "use_cases": {
        "recruitment": {
            "milestones": [3, 6, 12, 24], "label_milestone": 12,
            "positive_action": "advance", "negative_action": "decline",
            "good_hire_rating": GOOD, "report_grace_days": GRACE,
        },
        "attrition": {
            "milestones": [3, 6], "label_milestone": 6,
            "positive_action": "alert", "negative_action": "none",
            "resignation_grace_days": ENTERED_DAYS, "early_warning_months": EARLY,
        },
    }
}  # fmt: skip
SKILLS = ["python", "sql", "excel", "statistics", "auditing", "recruiting"]


@dataclass
class Rows:
    """Source rows by table (contract columns and known_at), and decisions of the loop."""

    tables: dict[str, list[dict]] = field(default_factory=dict)
    decisions: list[dict] = field(default_factory=list)

    def add(self, table: str, known_at: datetime, **columns) -> None:
        self.tables.setdefault(table, []).append({"known_at": known_at, **columns})

    def known_by(self, moment: datetime) -> "Rows":
        """What was there at that time, and nothing else."""
        return Rows(
            {name: [row for row in rows if row["known_at"] <= moment] for name, rows in self.tables.items()},
            [decision for decision in self.decisions if decision["as_of"] <= moment],
        )

    def standing(self, table: str, moment: datetime) -> dict[tuple, dict]:
        """The version of each key that stood as known at that time."""
        key = contract.load()[table].key
        versions = [row for row in self.tables.get(table, []) if row["known_at"] <= moment]
        return {
            tuple(row[name] for name in key): row for row in sorted(versions, key=lambda row: row["known_at"])
        }


def build(warehouse: Warehouse, as_of: datetime, select=(), declared=DECLARED, **how) -> None:
    """Build the warehouse, or a part of it, as the loop does."""
    variables = {"as_of": moment.text(as_of), **declared}
    transform.build(warehouse, warehouse.settings, variables, select, **how)


def random_rows(seed: int, applications: int = 40) -> Rows:
    """Rows of a company in which nothing comes in order. Every hire has a review or two, or none."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    rows = Rows()

    def later(moment: datetime, low: float, high: float) -> datetime:
        return moment + timedelta(seconds=round(rng.uniform(low, high) * 86_400))

    for number in range(6):
        opened = later(START, 0, 300)
        known = later(opened, -5, 60)
        for _ in range(rng.choice([1, 2, 3])):
            rows.add(
                "ats.requisitions", known, requisition_id=f"R{number}", title="t",
                job_family=rng.choice(["data", "sales"]), opened_at=_text(opened),
                required_skills="|".join(rng.sample(SKILLS, 3)),
            )  # fmt: skip
            known = later(known, 5, 120)

    for number in range(applications):
        case, requisition = f"A{number}", f"R{rng.randrange(7)}"  # R6 is never known
        applied = later(START, 20, 400)
        known = later(applied, 0, 35)
        opened_known = known
        person = f"C{rng.randrange(applications // 2)}"
        for _ in range(rng.choice([1, 1, 2, 3])):
            rows.add(
                "ats.applications", known, application_id=case, candidate_id=person,
                requisition_id=requisition, applied_at=_text(applied), source_channel="referral",
                years_experience=rng.choice(["1", "2.5", "NaN", " "]), education_level="master",
                skills="|".join(rng.sample(SKILLS, 2)),
                assessment_score=rng.choice([None, "50", "70"]),
            )  # fmt: skip
            known = later(known, 1, 200)
        if rng.random() < 0.15:
            continue  # nobody has looked at it yet
        happened = later(opened_known, -3, 40)
        stage = rng.choice(["hired", "hired", "rejected", "screened"])
        if rng.random() < 0.5:
            decided = opened_known + timedelta(hours=1)
            happened = max(happened, decided)
            rows.decisions.append(_decision(case, person, requisition, decided, rng))
        known = max(later(happened, 0, 40), opened_known + timedelta(hours=2))
        employee = f"E{number}"
        for _ in range(rng.choice([1, 1, 1, 2])):
            rows.add(
                "ats.application_events", known, event_id=f"V{number}", application_id=case, stage=stage,
                occurred_at=_text(happened), employee_id=employee if stage == "hired" else None,
            )  # fmt: skip
            known = later(known, 1, 300)
            happened, stage = later(happened, 0, 2), rng.choice(["hired", "rejected", stage, stage])
        if rng.random() < 0.9:
            _career(rows, rng, later, employee, person, happened.date())
    return rows


def _career(rows: Rows, rng: random.Random, later, employee: str, person: str, accepted: date) -> None:
    first_day = accepted + timedelta(days=rng.randrange(-10, 45))
    known = later(_midnight(first_day), -5, 40)
    for _ in range(rng.choice([1, 1, 2])):
        rows.add(
            "hris.employees", known, employee_id=employee, candidate_id=person,
            valid_from=(first_day + timedelta(days=rng.choice([0, 0, 90]))).isoformat(),
            hired_on=first_day.isoformat(), department="d", job_family="data",
            job_level="1", manager_id="E0",
        )  # fmt: skip
        known, first_day = later(known, 1, 200), first_day + timedelta(days=rng.choice([0, 0, 14, -7]))
    for months in (3, 6, 12):
        if rng.random() < 0.25:
            continue
        ends = add_months(first_day, months) + timedelta(days=rng.randrange(-25, 70))
        known = later(_midnight(ends), 0, 120)
        for _ in range(rng.choice([1, 1, 2])):
            rows.add(
                "hris.reviews", known, review_id=f"W{employee}-{months}", employee_id=employee,
                period_end=ends.isoformat(), rating=rng.choice(["2", "3.5", "4", "4.5", ""]),
            )  # fmt: skip
            known = later(known, 1, 200)
    if rng.random() < 0.4:
        left = first_day + timedelta(days=rng.randrange(10, 500))
        known = later(_midnight(left), -20, 90)
        for _ in range(rng.choice([1, 1, 2])):
            rows.add(
                "hris.terminations", known, employee_id=employee, terminated_on=left.isoformat(),
                kind=rng.choice(["voluntary", "involuntary", "layoff", "end_of_contract", ""]),
            )  # fmt: skip
            known, left = later(known, 1, 200), left + timedelta(days=rng.choice([0, 30]))


def _decision(case: str, person: str, requisition: str, as_of: datetime, rng: random.Random) -> dict:
    action = rng.choice(["advance", "decline"])
    return {
        "decision_id": f"d-{case}", "use_case": "recruitment", "case_key": case, "subject_key": f"k-{person}",
        "group_key": requisition, "as_of": as_of, "model_version": 1, "score": 0.5, "probability": 0.5,
        "confidence": 0.6, "rank": 1, "group_size": 3, "recommended_action": action,
        "route": "review", "exploration": False, "selection_propensity": 0.25, "features": {},
    }  # fmt: skip


def insert(warehouse: Warehouse, rows: Rows, delivery: str = "") -> None:
    """Put rows where the loader, and a gate that passed them, leave them; pseudonyms are k- and the id.

    The rows of a table are one batch, named by it and by the ``delivery``.
    """
    ensure_tables(warehouse)
    with warehouse.engine("admin").begin() as connection:
        for name, table_rows in rows.tables.items():
            table = contract.load()[name]
            connection.execute(
                insert_rows(batches),
                {
                    "batch_id": table.relation + delivery, "system": table.system, "table_name": table.name,
                    "file_name": "f", "content_sha256": "0", "arrived_at": START, "status": "passed",
                    "rows_in": len(table_rows), "rows_passed": len(table_rows),
                },
            )  # fmt: skip
            raw = Table(table.relation, MetaData(), schema="raw", autoload_with=connection)
            ready = [
                _raw_row(table, number, row) | {"_batch_id": table.relation + delivery}
                for number, row in enumerate(table_rows)
            ]
            if ready:
                connection.execute(insert_rows(raw), ready)
        if rows.decisions:
            connection.execute(insert_rows(decisions), rows.decisions)


def forget_after(warehouse: Warehouse, moment: datetime) -> None:
    """Take away what became known after that time, as if it were not known yet."""
    with warehouse.engine("admin").begin() as connection:
        for table in contract.load().values():
            connection.exec_driver_sql(f"delete from {table.raw} where _known_at > %s", (moment,))
        connection.exec_driver_sql("set local session_replication_role = replica")  # append-only otherwise
        connection.exec_driver_sql("delete from loop.decisions where as_of > %s", (moment,))


def clear(warehouse: Warehouse) -> None:
    """Take away all source rows, batches and decisions."""
    ensure_tables(warehouse)
    forget_after(warehouse, datetime(1900, 1, 1, tzinfo=UTC))
    with warehouse.engine("admin").begin() as connection:
        connection.exec_driver_sql("delete from loop.batches")


def _raw_row(table: contract.Table, number: int, row: dict) -> dict:
    values = {name: row.get(name) for name in table.columns}
    keys = {key: f"k-{row[name]}" if row.get(name) else None for name, key in table.keys_of_persons.items()}
    happened = row.get(table.happened_at)
    try:
        moment = datetime.fromisoformat(happened) if happened else None
    except ValueError:
        moment = None
    if moment and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return values | keys | {
        "_row": number, "_happened_at": moment, "_known_at": row["known_at"], "_arrived_at": row["known_at"],
    }  # fmt: skip


@contextmanager
def fresh(server: Warehouse, home: Path) -> Iterator[Warehouse]:
    """A copy of the bootstrapped warehouse that lives longer than a test, or shorter."""
    shutil.copytree(server.settings.home / "secrets", home / "secrets")
    yield from _copied(server, server.settings.model_copy(update={"home": home}))


@contextmanager
def fresh_copy(of: Warehouse) -> Iterator[Warehouse]:
    """A copy of a warehouse as it stands."""
    yield from _copied(of, of.settings)


def _copied(of: Warehouse, settings: Settings) -> Iterator[Warehouse]:
    name = f"copy_{os.getpid()}_{next(_numbers)}"
    admin = of.admin.set(drivername="postgresql+psycopg2")
    of.dispose()  # a template must have no other connections
    maintenance = create_engine(admin, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.exec_driver_sql(f"create database {name} template {of.database}")
        connection.exec_driver_sql(f"grant connect, temporary on database {name} to public")
    copy = replace(of, database=name, settings=settings, _engines={})
    try:
        yield copy
    finally:
        copy.dispose()
        with maintenance.connect() as connection:
            connection.exec_driver_sql(f"drop database {name} with (force)")
        maintenance.dispose()


def application(rows: Rows, case: str, moment: datetime) -> dict | None:
    """The version of an application that stood as known at that time."""
    return rows.standing("ats.applications", moment).get((case,))


def requisition(rows: Rows, number: str, moment: datetime) -> dict | None:
    """The version of a requisition that stood as known at that time."""
    return rows.standing("ats.requisitions", moment).get((number,))


def hire(rows: Rows, case: str, moment: datetime) -> tuple[str | None, date] | None:
    """Employee and first day of the case's hire as known at that time; None when it was not hired."""
    events = [
        row
        for row in rows.standing("ats.application_events", moment).values()
        if row["application_id"] == case and row["stage"] == "hired"
    ]
    if not events:
        return None
    event = min(events, key=lambda row: (row["occurred_at"], row["event_id"]))
    accepted = datetime.fromisoformat(event["occurred_at"]).date()
    records = [
        row
        for row in rows.standing("hris.employees", moment).values()
        if row["employee_id"] == event["employee_id"]
    ]
    if records:
        first_day = date.fromisoformat(max(records, key=lambda row: row["valid_from"])["hired_on"])
        if -90 <= (first_day - accepted).days <= 365:
            return event["employee_id"], first_day
    return event["employee_id"], accepted


def outcome(rows: Rows, case: str, months: int, moment: datetime) -> tuple[str, float | None] | None:
    """Status and value of a case's milestone as known at that time; None when the case was not hired."""
    hired = hire(rows, case, moment)
    if hired is None:
        return None
    employee, first_day = hired
    dues = {m: add_months(first_day, m) for m in (0, 3, 6, 12, 24)}
    due = dues[months]
    if moment < _midnight(due):
        return "pending", None
    for row in rows.standing("hris.terminations", moment).values():
        if row["employee_id"] == employee and first_day.isoformat() <= row["terminated_on"] < due.isoformat():
            if row["kind"] in ("voluntary", "involuntary"):
                return "observed", 0.0
            return ("censored" if row["kind"] else "missing"), None
    ratings = []
    for row in rows.standing("hris.reviews", moment).values():
        if row["employee_id"] != employee or not row["rating"]:
            continue
        ends = date.fromisoformat(row["period_end"])
        windows = [
            m
            for before, m in ((0, 3), (3, 6), (6, 12), (12, 24))
            if dues[before] < ends <= dues[m] + timedelta(days=GRACE)
        ]
        nearest = min(windows, key=lambda m: (abs((ends - dues[m]).days), m), default=None)
        if nearest == months:
            ratings.append((abs((ends - due).days), -ends.toordinal(), row["review_id"], row["rating"]))
    if ratings:
        return "observed", float(float(min(ratings)[3]) >= GOOD)
    return ("missing" if moment >= _midnight(due + timedelta(days=GRACE)) else "pending"), None


def first_event(rows: Rows, case: str) -> tuple[datetime, datetime] | None:
    """When the case was first decided by people, and when that became known; None when it never was."""
    events = [row for row in rows.tables["ats.application_events"] if row["application_id"] == case]
    if not events:
        return None
    known = min(row["known_at"] for row in events)
    return min(datetime.fromisoformat(e["occurred_at"]) for e in events if e["known_at"] == known), known


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for last in (31, 30, 29, 28):
        try:
            return date(year, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise AssertionError(day)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat()


MEASURES = (
    "overtime_hours", "absence_hours", "sick_hours", "vacation_days", "meeting_hours", "messages_sent",
    "internal_applications",
)  # fmt: skip


def random_staff(seed: int, employees: int = 24) -> Rows:
    """Rows of the employed: months worked, answers, reviews, measures and ends, all late and corrected.

    A third of the months has a decision of the loop.
    """
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    rows = Rows()

    def later(moment: datetime, low: float, high: float) -> datetime:
        return moment + timedelta(seconds=round(rng.uniform(low, high) * 86_400))

    def add(table: str, known: datetime, **columns) -> None:
        """A row, and one time in four a later version of it."""
        rows.add(table, known, **columns)
        if rng.random() < 0.25:
            changed = rng.choice([name for name in columns if name in CORRECTED])
            rows.add(table, later(known, 1, 150), **columns | {changed: CORRECTED[changed](rng)})

    months = [add_months(START.date(), number) for number in range(24)]
    for number in range(employees):
        employee = f"E{number}"
        hired = START.date() + timedelta(days=rng.randrange(-900, 400))
        left = hired + timedelta(days=rng.randrange(30, 1500)) if rng.random() < 0.7 else date(2200, 1, 1)
        positions = sorted(
            {hired, *(hired + timedelta(days=rng.randrange(1, 1200)) for _ in range(rng.choice([0, 2, 4])))}
        )
        for valid_from in positions:
            add(
                "hris.employees", later(_midnight(valid_from), -20, 40), employee_id=employee,
                valid_from=valid_from.isoformat(), hired_on=hired.isoformat(),
                department=rng.choice(["Sales", "Service", None]), location=rng.choice(["Berlin", "Lisbon"]),
                job_family=rng.choice(["sales", "data"]), job_level=rng.choice("12"),
                manager_id=rng.choice(["E0", "E1", "E2"]), monthly_salary=str(rng.randrange(2000, 5000, 500)),
                fte="1",
            )  # fmt: skip
        for month in months:
            if not hired < month < left or rng.random() < 0.04:
                continue
            measured = {name: CORRECTED[name](rng) for name in MEASURES}
            known = later(_midnight(add_months(month, 1)), 0, rng.choice([0.1, 0.1, 20]))
            add("hris.work_months", known, employee_id=employee, month=month.isoformat(), **measured)
        for month in months[2::3]:
            if hired < month < left and rng.random() < 0.6:
                on = month + timedelta(days=rng.randrange(28))
                add(
                    "hris.surveys", later(_midnight(on), 0, 20), employee_id=employee,
                    surveyed_on=on.isoformat(), engagement=CORRECTED["engagement"](rng),
                    enps=str(rng.randrange(11)), manager_score=rng.choice(["2", "4", ""]),
                )  # fmt: skip
        for half in range(rng.choice([0, 2, 4])):
            ends = hired + timedelta(days=183 * (half + 1))
            add(
                "hris.reviews", later(_midnight(ends), 0, 60), review_id=f"W{number}-{half}",
                employee_id=employee, period_end=ends.isoformat(), rating=CORRECTED["rating"](rng),
            )  # fmt: skip
        for measure in range(rng.choice([0, 0, 1, 2])):
            on = START.date() + timedelta(days=rng.randrange(700))
            add(
                "hris.interventions", later(_midnight(on), -3, 90), intervention_id=f"N{number}-{measure}",
                employee_id=employee, kind="raise", started_on=on.isoformat(),
            )  # fmt: skip
        if left < END.date():
            add(
                "hris.terminations", later(_midnight(left), -40, 120), employee_id=employee,
                terminated_on=left.isoformat(), kind=CORRECTED["kind"](rng),
            )  # fmt: skip
    rows = rows.known_by(END)
    for (employee, month), (opened, closed) in sorted(openings(rows).items()):
        if rng.random() < 0.33 and (closed is None or opened + timedelta(hours=1) < closed):
            case = f"k-{employee}:{month[:7]}"
            taken = _decision(case, employee, "Sales, Berlin", opened + timedelta(hours=1), rng)
            action = rng.choice(["alert", "none"])
            rows.decisions.append(taken | {"use_case": "attrition", "recommended_action": action})
    return rows


# What a later version of a row may say instead, and the first one too.
CORRECTED = {
    "overtime_hours": lambda rng: rng.choice(["0", "4.5", "12", "30", "NaN"]),
    "absence_hours": lambda rng: rng.choice(["0", "8"]),
    "sick_hours": lambda rng: rng.choice(["0", "0", "0", "0", "6"]),
    "vacation_days": lambda rng: rng.choice(["0", "2", "10", None]),
    "meeting_hours": lambda rng: str(rng.randrange(40)),
    "messages_sent": lambda rng: str(rng.randrange(100, 500)),
    "internal_applications": lambda rng: rng.choice("0001"),
    "engagement": lambda rng: rng.choice(["1", "2", "3", "4", "5", ""]),
    "rating": lambda rng: rng.choice(["2", "3.5", "4", ""]),
    "kind": lambda rng: rng.choice(["voluntary", "voluntary", "involuntary", "layoff", "retirement", ""]),
    "terminated_on": lambda rng: (START.date() + timedelta(days=rng.randrange(900))).isoformat(),
    "started_on": lambda rng: (START.date() + timedelta(days=rng.randrange(700))).isoformat(),
    "monthly_salary": lambda rng: str(rng.randrange(2000, 5000, 500)),
    "manager_id": lambda rng: rng.choice(["E0", "E1", "E2"]),
}


def openings(rows: Rows) -> dict[tuple[str, str], tuple[datetime, datetime | None]]:
    """When each employee's month was opened and closed, by employee and month (ISO days)."""
    opened: dict[tuple[str, str], datetime] = {}
    for row in rows.tables["hris.work_months"]:
        key = row["employee_id"], row["month"]
        opened[key] = min(row["known_at"], opened.get(key, row["known_at"]))
    first = {month: min(at for (_, other), at in opened.items() if other == month) for _, month in opened}
    following = dict(zip(sorted(first), [*sorted(first)[1:], None], strict=True))
    closed = {}
    for employee, month in opened:
        moments = [
            row["known_at"]
            for row in rows.tables["hris.terminations"]
            if row["employee_id"] == employee and row["terminated_on"] >= month
        ]
        moments += [first[following[month]]] if following[month] else []
        closed[employee, month] = min(moments, default=None)
    return {key: (opened[key], closed[key]) for key in opened}


def resignation(
    rows: Rows,
    employee: str,
    month: str,
    decided_at: datetime,
    known_at: datetime,
    months: int,
    moment: datetime,
) -> tuple[str, float | None, date | None] | None:
    """Status, value and end of a month's milestone as known at that time; None before it was known."""
    starts = decided_at.date()
    due = add_months(starts, months)
    if moment < known_at:
        return None
    if moment < _midnight(due + timedelta(days=ENTERED_DAYS)):
        return "pending", None, None
    ends = []
    for row in rows.standing("hris.terminations", moment).values():
        if row["employee_id"] == employee and month <= row["terminated_on"] < due.isoformat():
            left = date.fromisoformat(row["terminated_on"])
            ends.append((max(left, starts), 0, "gone" if left <= starts else row["kind"]))
    for row in rows.standing("hris.interventions", moment).values():
        if row["employee_id"] == employee and starts.isoformat() <= row["started_on"] < due.isoformat():
            ends.append((date.fromisoformat(row["started_on"]), 1, "measure"))
    if not ends:
        return "observed", 0.0, None
    ended_on, _, kind = min(ends)
    if kind == "voluntary":
        return "observed", 1.0, ended_on
    return ("censored" if kind else "missing"), None, ended_on


def position(rows: Rows, employee: str, moment: datetime) -> dict | None:
    """The record of an employee that is valid and known at that time, with what changed before and when."""
    records = [
        row
        for row in rows.standing("hris.employees", moment).values()
        if row["employee_id"] == employee and row["valid_from"] <= moment.date().isoformat()
    ]
    records.sort(key=lambda row: row["valid_from"])
    changed: dict[str, str | None] = dict.fromkeys(("monthly_salary", "job_level", "manager_id"))
    for before, after in itertools.pairwise(records):
        changed |= {name: after["valid_from"] for name in changed if before[name] != after[name]}
    return records[-1] | {"changed": changed} if records else None
