"""The practice company month by month: each month is a function of what stood before and what was decided.

The books between months lie below ``truth/``: ``company.json`` names the company and the last month written,
``state/<month>/`` holds its open books, ``applications/<month>.parquet`` what truly would have become of
every applicant, ``employees/<month>.parquet`` what would become of every employee if nothing more were done,
``interventions/<month>.parquet`` what was done and what it averted, ``decisions/<month>.parquet`` and
``alerts/<month>.parquet`` what it was given, ``dirt/<month>.json`` the counts of dirt in the exports.
"""

import io
import json
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from hrloop.practice import hiring, people, retention, unrest, workforce
from hrloop.practice.company import Company, Shift, identifiers, later, seconds
from hrloop.practice.exports import COLUMNS, export, write
from hrloop.settings import Settings

PERSON = (
    "candidate_id", "years_experience", "education_level", "education_field", "foreign_experience", "name",
    "email", "gender", "birth_year", "aptitude", "talent", "drive",
)  # fmt: skip
LATE_ASSESSMENT_SHARE = 0.15  # of the missing scores: delivered a month later, after the decision
BOOKS_CLOSED_EVERY = 12  # months of a history; a torn one goes on from there
POOL_MONTHS = 3  # months' worth of applicants that may come back

TRUTH = (
    "application_id", "candidate_id", "requisition_id", "months_until_leaving", "leaving_kind",
    *(f"{kind}_{month}" for kind in ("would_be_good_at", "probability_good_at", "rating")
      for month in people.MILESTONES),
)  # fmt: skip
TRUTH_OF_EMPLOYEES = ("employee_id", "leaves_on", "leaving_kind", "silent", "episode", "resolve")


@dataclass(frozen=True)
class Report:
    """What a call wrote: months by label, number of files and bytes, decisions by what became of them."""

    months: tuple[str, ...]
    files: int
    size: int
    applications: int
    hires: int
    decisions: int = 0
    too_late: int = 0
    alerts: int = 0


@dataclass(frozen=True)
class _Place:
    landing: Path
    truth: Path

    @classmethod
    def of(cls, where: Settings | Path | str) -> "_Place":
        if isinstance(where, Settings):
            return cls(where.landing, where.truth)
        return cls(Path(where) / "landing", Path(where) / "truth")


def history(
    where: Settings | Path | str,
    months: int = 36,
    seed: int = 7,
    applications_per_month: int = 1500,
    start: date = date(2023, 10, 1),
    until_month: date | None = None,
    shift: Shift | None = None,
) -> Report:
    """Write the exports of the first ``months`` months, or up to and including ``until_month``.

    ``where`` is the installation's settings, or a folder that gets ``landing/`` and ``truth/``. Months that
    are written already stay as they are, so a second call changes nothing, and a call for more months goes
    on, people deciding alone. ``shift``: None where success stays as frequent as it is. Raises ValueError
    when the folder holds another company.
    """
    place, company = _Place.of(where), Company(seed, start, applications_per_month, shift)
    if until_month is not None:
        months = int((np.datetime64(until_month, "M") - company.month(0)).astype(int)) + 1
    if months < 1:
        raise ValueError(f"{months} months asked for; give 1 or more, or an until_month after {start}")
    done = _done(place, company)
    state = _open_books(place, company, done)
    reports = []
    for index in range(done, months):
        report, state = _write_month(place, company, index, state, None, None)
        reports.append(report)
        if (index + 1) % BOOKS_CLOSED_EVERY == 0 or index + 1 == months:
            _close_books(place, company, index + 1, state)
    return _sum(reports)


def answer(
    where: Settings | Path | str,
    month: date | str,
    decisions: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
) -> Report:
    """Live through the month after ``month``, in which people decide on what it brought, and export it.

    ``decisions`` has one row per application made in ``month``: application_id, recommended_action
    ('advance' or 'decline'), and where known rank (1 = best of its requisition), action (what a person
    finally decided) and exploration (drawn at random, bool). People do as recommended nine times in ten,
    and always where ``action`` is given or the case is an exploration; whoever they do not follow on, and
    every application without a decision, is judged as of old. Among the advanced, people choose whom to hire.

    ``alerts`` has one row per employee warned of or not in ``month``: employee_id, month (such as 2026-07)
    and action ('alert' or 'none', as finally decided). HR partners act on seven alerts in ten. None, of
    either, means that people decide alone.

    Asking again with the same decisions and alerts changes nothing. Raises ValueError when ``month`` is not
    the last month written, was answered with other ones, or one of them is not understood.
    """
    place = _Place.of(where)
    company, done = _company(place)
    if not done:
        raise ValueError(f"{place.truth} holds a company without a past: write a history first")
    label, last = month if isinstance(month, str) else month.strftime("%Y-%m"), company.label(done - 1)
    if company.label(0) <= label < last:
        _refuse_other_decisions(place, label, decisions)
        _refuse_other_alerts(place, label, alerts)
        return _sum([])
    if label != last:
        raise ValueError(f"{label} has no exports yet: the last month written is {last}; answer that first")
    state = _open_books(place, company, done)
    read = None if decisions is None else hiring.read_decisions(decisions, state["pending"], label)
    heard = None if alerts is None else retention.read_alerts(alerts, _employed(place, label), label)
    report, state = _write_month(place, company, done, state, read, heard)
    _close_books(place, company, done + 1, state)
    return report if read is None else replace(report, too_late=len(decisions) - len(read))


def truth(where: Settings | Path | str, of: str = "applications") -> pd.DataFrame:
    """What truly would have become of people, all months.

    ``of``: ``applications`` (one row each), ``employees`` (one row for each and month) or ``interventions``
    (one row each). Only evaluation may read this. Raises FileNotFoundError when nothing has been written.
    """
    files = sorted((_Place.of(where).truth / of).glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"no truth below {_Place.of(where).truth / of}; write a history first")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def live(
    company: Company,
    index: int,
    state: dict[str, pd.DataFrame],
    decisions: pd.DataFrame | None,
    alerts: pd.DataFrame | None,
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """One month of the company: (rows that become known in it by table, the truth, new state).

    ``state`` is what the call for the month before returned, empty for the first month: ``pending``
    applications, open ``requisitions``, ``known`` people turned down, ``staff``, and per table
    ``later.<system>.<table>`` the rows that are not known yet.
    """
    rows: dict[str, list[pd.DataFrame]] = {table: [] for table in COLUMNS}
    if index == 0:
        staff = workforce.founding(company)
        rows["hris/employees"].append(staff[list(workforce.RECORD)])
    else:
        staff = state["staff"]
    known = state.get("known")

    if "pending" in state:
        pending = state["pending"]
        choice = hiring.choose(company, index, pending, decisions)
        hired = choice["hired"].to_numpy()
        employee_id = pd.Series([None] * len(pending), dtype="str")
        employee_id[hired] = identifiers("E", company.month(index), int(hired.sum())).array
        events = hiring.stage_events(company, index, pending, choice, employee_id)
        rows["ats/application_events"].append(events)
        rows["ats/feedback"].append(hiring.feedback(company, index, pending, choice))
        rows["ats/requisitions"].append(_closed(company, index, state["requisitions"]))
        rows["ats/applications"].append(_late_assessments(company, index, pending))

        at = events.loc[events["stage"] == "hired"].set_index("employee_id")["occurred_at"]
        newcomers = pending.assign(employee_id=employee_id).loc[hired].reset_index(drop=True)
        newcomers = workforce.starters(company, index, newcomers, at[newcomers["employee_id"]].to_numpy())
        rows["hris/employees"].append(newcomers[list(workforce.RECORD)])
        staff = pd.concat([staff, newcomers], ignore_index=True)
        turned_down = pending.loc[~hired, list(PERSON)]
        known = turned_down if known is None else pd.concat([known, turned_down], ignore_index=True)
        known = known.iloc[-POOL_MONTHS * company.applications_per_month :].reset_index(drop=True)

    staff = workforce.lay_off(company, index, staff)
    staff, changes = workforce.change(company, index, staff)
    staff = unrest.make_up_minds(company, index, unrest.go_through(company, index, staff))
    staff, measures, measured = retention.act(company, index, staff, alerts)
    raised = measured.loc[measured["kind"] == "raise", "employee_id"]
    raises = staff.loc[staff["employee_id"].isin(raised), list(workforce.RECORD)]
    rows["hris/employees"] += [changes, raises]
    rows["hris/interventions"].append(measures)
    for table, write_down in (
        ("hris/terminations", workforce.terminations),
        ("hris/reviews", workforce.reviews),
        ("hris/work_months", workforce.work_months),
        ("hris/surveys", workforce.surveys),
    ):
        rows[table].append(write_down(company, index, staff))
    staff = staff.loc[seconds(staff["leaves_on"]) >= company.opening(index)].reset_index(drop=True)

    opened, required = people.requisitions(company, index)
    rows["ats/requisitions"].append(opened)
    applied = people.applicants(company, index, opened, required, known)
    rows["ats/applications"].append(applied)
    applied = applied.join(people.fates(company, index, applied))
    if known is not None:
        known = known.loc[~known["candidate_id"].isin(applied["candidate_id"])].reset_index(drop=True)

    due, waiting = _deliver(company, index, rows, state)
    now = {"staff": staff, "pending": applied, "requisitions": opened, **waiting}
    employed = workforce.through(company, index, staff)[list(TRUTH_OF_EMPLOYEES)]
    fates = {
        "applications": applied[list(TRUTH)],
        "employees": employed.assign(month=company.label(index)),
        "interventions": measured,
    }
    return due, fates, now if known is None else now | {"known": known}


def _closed(company: Company, index: int, opened: pd.DataFrame) -> pd.DataFrame:
    """Last month's requisitions, closed at the end of this one."""
    at = later(np.full(len(opened), company.opening(index)), company.rng(index, "requisitions", 1), 25, 27.9)
    return opened.assign(closed_at=at, updated_at=at)


def _late_assessments(company: Company, index: int, pending: pd.DataFrame) -> pd.DataFrame:
    """Applications of last month whose assessment came in only now: known after the decision on them."""
    rng = company.rng(index, "applicants", 1)
    late = pending["assessment_score"].isna().to_numpy() & (rng.random(len(pending)) < LATE_ASSESSMENT_SHARE)
    rows = pending.loc[late].reset_index(drop=True)
    score = np.clip(np.round(62 + 13 * (0.82 * rows["talent"] + 0.57 * rng.normal(size=len(rows)))), 0, 100)
    at = later(np.full(len(rows), company.opening(index)), rng, 5, 27)
    return rows.assign(assessment_score=score, updated_at=at)


def _deliver(company: Company, index: int, rows: dict, state: dict) -> tuple[dict, dict]:
    """Split all rows written down so far into those known when the month's files leave, and the rest."""
    arrival = company.opening(index + 1) + np.timedelta64(1800, "s")
    due, waiting = {}, {}
    for table, columns in COLUMNS.items():
        name = f"later.{table.replace('/', '.')}"
        parts = [part for part in [state.get(name), *rows[table]] if part is not None and len(part)]
        groups = ["location", "job_family"] if table == "ats/applications" else []
        wanted = list(dict.fromkeys([*columns, *groups]))
        if not parts:
            due[table] = pd.DataFrame(columns=wanted)
            continue
        frame = pd.concat([part[wanted] for part in parts], ignore_index=True)
        known_at = seconds(frame["updated_at" if "updated_at" in frame else "occurred_at"])
        due[table] = frame.loc[known_at <= arrival].reset_index(drop=True)
        if (known_at > arrival).any():
            waiting[name] = frame.loc[known_at > arrival].reset_index(drop=True)
    return due, waiting


def _write_month(
    place: _Place,
    company: Company,
    index: int,
    state: dict[str, pd.DataFrame],
    decisions: pd.DataFrame | None,
    alerts: pd.DataFrame | None,
) -> tuple[Report, dict[str, pd.DataFrame]]:
    """Live one month and put its files in place, and nothing beside them; what was written, the new state."""
    due, fates, new_state = live(company, index, state, decisions, alerts)
    files, dirt = export(company, index, due)
    label = company.label(index)
    for of, fate in fates.items():
        _write_parquet(place.truth / of / f"{label}.parquet", fate)
    write(place.truth / "dirt" / f"{label}.json", (json.dumps(dirt, indent=1) + "\n").encode())
    for kind, given in (("decisions", decisions), ("alerts", alerts)):
        path = place.truth / kind / f"{company.label(index - 1)}.parquet"
        path.unlink(missing_ok=True)  # of a run that was torn off before it closed its books
        if given is not None:
            _write_parquet(path, given)
    for table in COLUMNS:  # such a run may also have had rows where there are none now
        for file in (place.landing / table).glob(f"{company.month(index) + 1}-01.*"):
            if file.relative_to(place.landing).as_posix() not in files:
                file.unlink()
    for path, content in files.items():
        day = path.rsplit("/", 1)[1][:10]
        write(place.landing / path, content, np.datetime64(f"{day}T00:30:00"))
    report = Report(
        months=(label,),
        files=len(files),
        size=sum(len(content) for content in files.values()),
        applications=len(fates["applications"]),
        hires=int((due["ats/application_events"].get("stage") == "hired").sum()),
        decisions=0 if decisions is None else len(decisions),
        alerts=0 if alerts is None else len(alerts),
    )
    return report, new_state


def _open_books(place: _Place, company: Company, done: int) -> dict[str, pd.DataFrame]:
    """The state after the months that are done; of a new company, its name is put on file first."""
    if not done:
        _sign(place, company, 0)
        return {}
    folder = place.truth / "state" / company.label(done - 1)
    return {file.stem: pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}


def _close_books(place: _Place, company: Company, done: int, state: dict[str, pd.DataFrame]) -> None:
    """Put the state on file, then say so: months that a torn run wrote after the last closing are redone."""
    folder = place.truth / "state" / company.label(done - 1)
    shutil.rmtree(folder, ignore_errors=True)
    for name, frame in state.items():
        _write_parquet(folder / f"{name}.parquet", frame)
    _sign(place, company, done)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    write(path, sink.getvalue())


def _sign(place: _Place, company: Company, done: int) -> None:
    book = {
        "seed": company.seed,
        "start": company.start.isoformat(),
        "applications_per_month": company.applications_per_month,
        "months_written": done,
    } | ({"shift": asdict(company.shift)} if company.shift else {})
    write(place.truth / "company.json", (json.dumps(book, indent=1) + "\n").encode())


def _company(place: _Place) -> tuple[Company, int]:
    """The company that lives here, and how many months are written."""
    path = place.truth / "company.json"
    if not path.exists():
        raise ValueError(f"{path} does not exist: there is no practice company here; write a history first")
    book = json.loads(path.read_text(encoding="utf-8"))
    shift = Shift(**book["shift"]) if "shift" in book else None
    company = Company(book["seed"], date.fromisoformat(book["start"]), book["applications_per_month"], shift)
    return company, book["months_written"]


def _done(place: _Place, company: Company) -> int:
    """How many months of this company are written; 0 where there is none. Refuses another company."""
    if not (place.truth / "company.json").exists():
        return 0
    found, done = _company(place)
    if found != company:
        raise ValueError(
            f"{place.truth} holds another practice company ({found}), not {company};"
            " use its parameters, or another folder"
        )
    return done


def _employed(place: _Place, label: str) -> pd.Series:
    """Who was employed through this month."""
    return pd.read_parquet(place.truth / "employees" / f"{label}.parquet")["employee_id"]


def _refuse_other_decisions(place: _Place, label: str, decisions: pd.DataFrame | None) -> None:
    """Pass when the month was answered with the same decisions; raise ValueError otherwise."""
    if decisions is not None:
        made_in = decisions["application_id"].astype(str).str[1:5]
        decisions = decisions[~(made_in > label[2:4] + label[5:7])]  # the loop has gone on since
        # the month's applications stand in the truth; that is all the check of the decisions needs
        pending = pd.read_parquet(place.truth / "applications" / f"{label}.parquet")
        decisions = hiring.read_decisions(decisions, pending, label)
    _refuse_other(place.truth / "decisions" / f"{label}.parquet", decisions)


def _refuse_other_alerts(place: _Place, label: str, alerts: pd.DataFrame | None) -> None:
    """Pass when the month was answered with the same alerts; raise ValueError otherwise."""
    if alerts is not None:
        alerts = retention.read_alerts(alerts, _employed(place, label), label)
    _refuse_other(place.truth / "alerts" / f"{label}.parquet", alerts)


def _refuse_other(path: Path, given: pd.DataFrame | None) -> None:
    """Pass when what was ``given`` stands at ``path``, or neither is there; raise ValueError otherwise."""
    before = pd.read_parquet(path) if path.exists() else None
    same = before is None and given is None
    if before is not None and given is not None:
        same = before.equals(given.astype(before.dtypes.to_dict()))
    if not same:
        raise ValueError(
            f"{path.stem} was answered already, with other {path.parent.name} (see {path});"
            " what people did cannot be undone: go on with the last month written"
        )


def _sum(reports: list[Report]) -> Report:
    return Report(
        months=tuple(label for report in reports for label in report.months),
        files=sum(report.files for report in reports),
        size=sum(report.size for report in reports),
        applications=sum(report.applications for report in reports),
        hires=sum(report.hires for report in reports),
        decisions=sum(report.decisions for report in reports),
        too_late=sum(report.too_late for report in reports),
        alerts=sum(report.alerts for report in reports),
    )
