"""One replay: a practice company in closed loop, month by month, with the engine's own steps.

Exports arrive on the first of a month. That day they are taken in and judged, the warehouse is built, the
rhythms run, and the round is decided by what is in charge then; people review, and the company lives the
month under the decisions. Rhythms run again a week apart until the next exports: a run a week stands for the
daily ones, as nothing arrives between. The warehouse is built once a month, for all its as_ofs: it is read as
of each of them out of its time columns. Only what the loop reads of it is built anew, not the figures made
for readers.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import text

from hrloop import as_of as moments
from hrloop import features, practice, release, sources, transform
from hrloop.learning import Fitted
from hrloop.release import Release
from hrloop.replay import measures
from hrloop.replay.company import APPLICATION, decided, reviewed
from hrloop.replay.policies import POLICIES, Policy, Rhythm, write_project
from hrloop.replay.registry import StoreRegistry, open_registry
from hrloop.replay.scenarios import SCENARIOS
from hrloop.rhythms import Loop, decisions, intake, matured, milestones
from hrloop.settings import Settings
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse, copy, drop

START = date(2023, 10, 1)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
REVIEWED = 300  # decisions a month: what recruiters get round to
SEEN_DAYS = 91  # outcomes of the last quarter, by which accuracy is commonly told
RESULTS = "months.jsonl"
AS_DECLARED = Policy("as declared, without rhythms", weekly=())
APPROVAL = "Approved as proposed: the rule of the replay."


@dataclass(frozen=True)
class Setting:
    """How large a company, how long a past and how many months are replayed, and how often rhythms run.

    ``applications``: a month. ``change``: month of the replay in which a scenario begins. ``weeks``: as_ofs a
    month, a week apart from its first day on. ``milestone``: months to the outcome that is learnt.
    """

    use_case: str
    applications: int
    history: int
    months: int
    change: int
    milestone: int
    weeks: int = 4

    def __post_init__(self):
        for name, least, most in (("history", 1, 120), ("months", 1, 120), ("weeks", 1, 4)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; give {least} to {most}")

    @property
    def declared(self) -> dict[str, float]:
        """What is declared otherwise for every policy, by dotted key."""
        return {"outcome.label_milestone": self.milestone}


@dataclass(frozen=True, order=True)
class Case:
    """What is replayed: a policy in a scenario with a seed."""

    scenario: str
    seed: int
    policy: str

    def __post_init__(self):
        for name, value, known in (
            ("scenario", self.scenario, SCENARIOS),
            ("policy", self.policy, POLICIES),
        ):
            if value not in known:
                raise ValueError(f"there is no {name} {value!r}; there are {', '.join(known)}")

    @property
    def name(self) -> str:
        return f"{self.scenario}-{self.seed}-{self.policy}"


def results(folder: Path) -> list[dict]:
    """The months of a replay that are on file, in their order; a line that was cut short does not count."""
    return [json.loads(line) for line in _lines(folder)]


def lived(folder: Path) -> int:
    """How many months of a replay are on file."""
    return len(_lines(folder))


def _lines(folder: Path) -> list[str]:
    path = folder / RESULTS
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def _flush(server: Warehouse) -> None:
    """Wait until all files, and all that was committed, are on disk; the server of replays does not wait at
    each commit."""
    os.sync()
    with server.engine("admin").begin() as connection:
        connection.execute(text("set local synchronous_commit = on"))
        connection.execute(text("select pg_current_xact_id()"))  # a commit that writes, after all others


def _keep(folder: Path, row: dict) -> None:
    """Put a month on file behind the others, in place of a line that was cut short."""
    draft = folder / f"{RESULTS}.draft"
    draft.write_text("".join(f"{line}\n" for line in [*_lines(folder), json.dumps(row)]), encoding="utf-8")
    draft.replace(folder / RESULTS)


def check(setting: Setting, cases: Sequence[Case], declaration: UseCase) -> None:
    """Raise ValueError for what has no truth to be measured by, and for a scenario that would never begin."""
    if declaration.decision.case_key != APPLICATION:
        raise ValueError(
            f"{declaration.name} decides on {declaration.decision.case_key}; the truth that a replay measures"
            f" by is kept of each {APPLICATION}"
        )
    milestones = declaration.outcome.milestones
    if setting.milestone not in milestones:
        raise ValueError(
            f"{declaration.name} has no milestone at {setting.milestone} months; give one of"
            f" {', '.join(map(str, milestones))}"
        )
    changing = {case.scenario for case in cases if SCENARIOS[case.scenario](0)}
    if changing and not 0 <= setting.change < setting.months:
        raise ValueError(
            f"{', '.join(sorted(changing))} would begin in month {setting.change} of {setting.months};"
            f" give a change of 0 to {setting.months - 1}"
        )


# --- the past, which replays of one scenario and seed share ----------------------------------------------


def prepare(server: Warehouse, folder: Path) -> None:
    """Make what replays in this folder begin as: a warehouse and MLflow's database, both without rows."""
    server.dispose()  # a template must have no other connections
    template = _template(folder)
    copy(server, server.database, template)
    warehouse = warehouse_of(server, server.settings.model_copy(update={"database": template}))
    sources.ensure_tables(warehouse)
    warehouse.dispose()
    copy(server, "template1", f"{template}_mlflow", owner="mlflow")
    open_registry(
        server.url("mlflow").set(database=f"{template}_mlflow"), server.settings.home / "artefacts", "none"
    )
    with server.engine("admin").connect() as connection:  # MLflow keeps its connections
        ended = text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name")
        connection.execute(ended, {"name": f"{template}_mlflow"})
    server.dispose()


def _template(folder: Path) -> str:
    return database_of(folder / "template")


def write_past(server: Warehouse, setting: Setting, scenario: str, seed: int, folder: Path) -> None:
    """A company's past in a folder and a database of its own: written, taken in, judged and built."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = _settings(server, folder, database_of(folder), seed)
    write_project(AS_DECLARED, setting.use_case, setting.declared, settings.project, folder / "project")
    settings = settings.model_copy(update={"project": folder / "project"})
    copy(server, _template(folder.parent), settings.database)
    happens = SCENARIOS[scenario](setting.history - 1 + setting.change)
    practice.history(settings, setting.history, seed, setting.applications, start=START, scenario=happens)
    loop = Loop(settings, warehouse_of(server, settings))
    intake.ingest(loop, arrival(setting, 0))
    intake.gate(loop, arrival(setting, 0), data_docs=False)
    intake.build(loop, arrival(setting, 0))
    loop.warehouse.dispose()
    (folder / "written").touch()


def arrival(setting: Setting, month: int) -> datetime:
    """When a month of the replay begins: on the day its exports come, at 06:00."""
    years, months = divmod(START.year * 12 + START.month - 1 + setting.history + month, 12)
    return datetime(years, months + 1, 1, 6, tzinfo=UTC)


def _settings(server: Warehouse, folder: Path, database: str, seed: int) -> Settings:
    """Settings of an installation of its own on this server; its draws follow from the seed."""
    secrets = folder / "secrets"
    if not secrets.exists():
        shutil.copytree(server.settings.home / "secrets", secrets)
        for name in ("audit_key", "pseudonym_key"):
            (secrets / name).write_text(f"{name} of replay {seed}", encoding="utf-8")
    return server.settings.model_copy(update={"home": folder, "landing_dir": None, "database": database})


def warehouse_of(server: Warehouse, settings: Settings) -> Warehouse:
    """The warehouse of an installation of its own on this server."""
    return replace(server, database=settings.database, settings=settings, _engines={})


def database_of(folder: Path) -> str:
    """The name of the database of a replay, or of a past, in this folder."""
    return f"replay_{folder.parent.name}_{folder.name}".replace("-", "_")


def forget_lost(server: Warehouse, setting: Setting, folder: Path) -> None:
    """Take away pasts and unfinished replays whose databases are gone, so that they begin anew."""
    with server.engine("admin").connect() as connection:
        there = set(connection.scalars(text("select datname from pg_database")))
    server.dispose()  # a template must have no other connections
    for place in folder.iterdir():
        is_past = (place / "written").exists()
        is_cut_short = (place / "begun").exists() and lived(place) < setting.months
        if (is_past or is_cut_short) and database_of(place) not in there:
            shutil.rmtree(place)


# --- one replay ------------------------------------------------------------------------------------------


def replay(server: Warehouse, setting: Setting, case: Case, past: Path, folder: Path) -> None:
    """Live through the months that are not on file yet. Finished, only the results stay."""
    done = lived(folder)
    if done == setting.months:
        return
    database = database_of(folder)
    if not (folder / "begun").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("landing", "truth", "secrets"):
            shutil.copytree(past / part, folder / part)
        copy(server, database_of(past), database)
        copy(server, f"{_template(past.parent)}_mlflow", f"{database}_mlflow", owner="mlflow")
        policy, project = POLICIES[case.policy], server.settings.project
        write_project(policy, setting.use_case, setting.declared, project, folder / "project")
        (folder / "begun").touch()
    run = Run.open(server, setting, case, folder)
    for month in range(done, setting.months):
        row = run.month(month)
        _flush(server)
        _keep(folder, row)
    run.loop.warehouse.dispose()
    drop(server, database)
    drop(server, f"{database}_mlflow")
    for part in folder.iterdir():
        if part.is_dir():
            shutil.rmtree(part)


@dataclass
class Run:
    """A replay at work. ``select``: what of the warehouse it builds, by dbt's selectors; empty for all."""

    setting: Setting
    policy: Policy
    loop: Loop
    owner: StoreRegistry
    declaration: UseCase
    select: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, server: Warehouse, setting: Setting, case: Case, folder: Path) -> "Run":
        """The replay in this folder, as far as it has come."""
        database = database_of(folder)
        settings = _settings(server, folder, database, case.seed)
        settings = settings.model_copy(update={"project": folder / "project"})
        url = server.url("mlflow").set(database=f"{database}_mlflow")
        registry, owner = open_registry(url, folder / "artefacts", setting.use_case)
        loop = Loop(settings, warehouse_of(server, settings), registry)
        declaration = loop.use_case(setting.use_case)
        return cls(setting, POLICIES[case.policy], loop, owner, declaration, read_by_the_loop(declaration))

    def month(self, month: int) -> dict:
        """Live through a month, and measure it. Cut short and run again, it ends as it would have ended."""
        self.seconds.clear()
        first = arrival(self.setting, month)
        row = {"month": month, "as_of": moments.text(first), "verdicts": [], "refusals": []}
        as_ofs = self.take_in(first)
        for number, as_of in enumerate(as_ofs):
            monthly = () if number else self.policy.monthly
            self.rhythms((*self.policy.weekly, *monthly, *self.policy.quarterly), as_of, row)
            if number == 0:
                row |= self.decide(as_of)
        if as_ofs:
            row |= self.releases(first, as_ofs[0])
        row |= self.answer(first)
        return row | {"seconds": {name: round(spent, 3) for name, spent in self.seconds.items()}}

    def take_in(self, first: datetime) -> list[datetime]:
        """Take in, judge and build what arrived, and return the month's as_ofs at which the gate is open.

        While the gate stays shut it is tried every day of the first week, as corrected deliveries come; from
        then on once a week.
        """
        as_ofs: list[datetime] = []
        for day in (*range(7), 7, 14, 21)[: 6 + self.setting.weeks]:
            if as_ofs and day % 7:
                continue
            as_of = first + day * DAY
            with self.timed("ingest"):
                intake.ingest(self.loop, as_of)
            with self.timed("gate"):
                try:
                    intake.gate(self.loop, as_of, data_docs=False)
                except intake.GateFailed:
                    continue
            as_ofs.append(as_of)
        if as_ofs:
            with self.timed("build"):
                intake.build(self.loop, *as_ofs, select=self.select)
        return as_ofs

    def rhythms(self, rhythms: Sequence[Rhythm], as_of: datetime, row: dict) -> None:
        """Run rhythms one after the other; what is proposed is approved and released at once.

        A refusal is told, as its DAG would fail, and holds up nothing else.
        """
        name = self.declaration.name
        for rhythm in rhythms:
            with self.timed(rhythm.__name__):
                try:
                    found = rhythm(self.loop, name, as_of)
                except ValueError as refusal:
                    row["refusals"].append([moments.text(as_of), rhythm.__name__, str(refusal)])
                    continue
            if found and found.get("verdict"):
                shifted = bool(found.get("drift") and found["drift"]["raised"])
                row["verdicts"].append([moments.text(as_of), rhythm.__name__, found["verdict"], shifted])
            if found and found.get("verdict") == "promote":
                with self.timed("release"):
                    self._release(as_of)

    def _release(self, as_of: datetime) -> None:
        """Approve what is proposed, and put in charge what is approved: also where a replay that was cut
        short had come no further than the approval."""
        loop, name = self.loop, self.declaration.name
        for version in self.owner.requested(name):
            release.approve(self.owner, self.declaration, version, APPROVAL)
        spent = release.standing(release.read(loop.warehouse, name)).spent
        for version in self.owner.approved(name):
            if version not in spent:
                release.promote(loop.warehouse, loop.registry, self.declaration, version, as_of)

    def decide(self, as_of: datetime) -> dict:
        """The month's round, its reviews, and how good it truly is, and looks."""
        loop, declaration = self.loop, self.declaration
        with self.timed("decide"):
            decisions.decide(loop, declaration.name, as_of)
        with self.timed("milestones"):
            milestones.report(loop, declaration.name, as_of)
        row = {}
        if self.policy.reviewed:
            with self.timed("reviews"):
                row["reviewed"] = reviewed(loop.warehouse, declaration, as_of, REVIEWED)
        with self.timed("measure"):
            return row | self._measured(as_of)

    def _measured(self, as_of: datetime) -> dict:
        """The round of an as_of beside the truth, and the accuracy that its champion shows on labels."""
        loop, declaration = self.loop, self.declaration
        frame = matured.training_frame(loop, declaration, as_of)
        entries = [entry for entry in release.read(loop.warehouse, declaration.name) if entry.as_of <= as_of]
        labels = int(matured.observed(frame).sum())
        rows = loop.warehouse.read(
            "engine",
            "select case_key, group_key, rank, probability, recommended_action as action, route"
            " from loop.decisions where use_case = :use_case and as_of = :as_of order by case_key",
            use_case=declaration.name,
            as_of=as_of,
        ).to_pandas()
        now = release.standing(entries)
        row = {"labels": labels, "decided": len(rows), "version": now.champion}
        if rows.empty:
            return row
        rows["chance"] = rows["case_key"].map(self._chances())
        rows = matured.with_protected(loop, declaration, rows, as_of)
        advanced = (rows["action"] == declaration.decision.actions.positive).to_numpy()
        first_ranked = measures.first_ranked(rows["group_key"], rows["rank"], advanced)
        chance, probability = rows["chance"].to_numpy(), rows["probability"].to_numpy()
        return row | {
            "true": measures.expected(chance, probability),
            "ceiling": measures.expected(chance, chance),
            "base_rate": float(chance.mean()),
            "advanced": float(chance[advanced].mean()),
            "first_ranked": float(chance[first_ranked].mean()),
            "selections": measures.selections(rows, advanced, declaration.protected.attributes),
            "routed": int((rows["route"] == "review").sum()),
            "seen": _seen(frame, self._in_charge(entries), now.calibration, as_of),
        }

    def releases(self, first: datetime, as_of: datetime) -> dict[str, list[dict]]:
        """What was tried since ``first``, and what changed in charge.

        Of each version that was ``tried`` against the one in charge: verdict, labels compared on, and its
        gain in Brier score on them. Of each of the ``changes``: kind, versions, and the true figures of the
        cases of the round of ``as_of`` under what was in charge before and what was after it.
        """
        with self.timed("measure"):
            entries = release.read(self.loop.warehouse, self.declaration.name)
            return {
                "tried": [
                    {
                        "verdict": entry.verdict,
                        "labels": details["evaluation_labels"],
                        "gain": details["improvement"]["brier"],
                    }
                    for entry in entries
                    if entry.as_of >= first
                    and "reference_metrics" in (details := entry.evidence.get("details", {}))
                ],
                "changes": self._changes(entries, first, as_of),
            }

    def _changes(self, entries: Sequence[Release], first: datetime, as_of: datetime) -> list[dict]:
        cases = features.scoring_frame(self.loop.warehouse, self.declaration, as_of)
        chance = cases["case_key"].map(self._chances()).to_numpy()
        told = []
        for number, entry in enumerate(entries):
            if entry.as_of < first or entry.kind not in ("promote", "roll_back", "calibrate"):
                continue
            sides = (self._in_charge(entries[:number]), self._in_charge(entries[: number + 1]))
            before, after = (measures.expected(chance, fitted.probability(cases)) for fitted in sides)
            told.append(
                {
                    "kind": entry.kind,
                    "verdict": entry.verdict,
                    "version": entry.version,
                    "previous": entry.previous_version,
                    "before": before,
                    "after": after,
                }
            )
        return told

    def _in_charge(self, entries: Sequence[Release]) -> Fitted:
        """The champion after these rows of the ledger, under the calibrator that is then live."""
        champion = release.standing(entries).champion
        return release.served_by(self.loop.registry, self.declaration, entries, champion).fitted

    def answer(self, first: datetime) -> dict:
        """The company lives the month under the decisions; whom it hired, how good they truly are, and what
        had been said of them."""
        with self.timed("company"):
            settings = self.loop.settings
            given = decided(self.loop.warehouse, [self.declaration])
            practice.answer(settings, f"{first - DAY:%Y-%m}", given)
            chances = self._chances()
            chosen = chances[chances.index.isin(hired(settings.landing, first))]
            row = {"hired": len(chosen), "quality": float(chosen.mean()) if len(chosen) else None}
            said = self._said(chosen.index)
            if len(said):
                chance = chosen[said.index].to_numpy()
                row |= {"hired_true": measures.expected(chance, said.to_numpy())}
                row |= {"hired_ceiling": measures.expected(chance, chance)}
            return row

    def _said(self, cases: pd.Index) -> pd.Series:
        """The probability that was said of those of these cases that were decided, by case."""
        rows = self.loop.warehouse.read(
            "engine",
            "select case_key, probability from loop.decisions"
            " where use_case = :use_case and case_key = any(:cases) order by case_key",
            use_case=self.declaration.name,
            cases=list(cases),
        ).to_pandas()
        return rows.set_index("case_key")["probability"]

    def _chances(self) -> pd.Series:
        """The true probability of a good outcome at the milestone that is learnt, by case."""
        truth = practice.truth(self.loop.settings).set_index("application_id")
        return truth[f"probability_good_at_{self.declaration.outcome.label_milestone}"]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of a block under this name."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def read_by_the_loop(declaration: UseCase) -> tuple[str, ...]:
    """dbt's selectors of what the loop itself reads of the warehouse; figures for readers are not in it."""
    features_of_cases = declaration.decision.feature_table.split(".")[-1]
    return f"+{features_of_cases}", "+fct_decisions", "warehouse_standing", transform.END


def _seen(frame: pd.DataFrame, champion: Fitted, live: Release | None, as_of: datetime) -> dict:
    """What is told of a champion by the outcomes of the last quarter that neither it nor its live calibrator
    learnt from. live: the ledger's row of the calibrator, None for the version's own."""
    quarter = as_of - timedelta(days=SEEN_DAYS)
    since = max(quarter, live.as_of) if live else quarter
    rows = matured.unseen(frame[matured.observed(frame) & (frame["label_known_at"] > since)], champion)
    told = measures.seen(rows["label"].to_numpy(), champion.probability(rows)) if len(rows) else {}
    return {"labels": len(rows), **told}


def hired(landing: Path, month: datetime) -> np.ndarray:
    """The applications that ended in a hire in the month that begins then, by the exports of that month."""
    following = (month.replace(day=1) + 31 * DAY).replace(day=1)
    events = pd.read_csv(
        landing / "ats" / "application_events" / f"{following:%Y-%m-%d}.csv.gz",
        usecols=["application_id", "stage"],
    )
    return events.loc[events["stage"] == "hired", "application_id"].unique()
