"""Quarterly champion-challenger: a search over architectures, then a live experiment with its winner.

The challenger decides a share of the groups, and both versions score every case. Matured labels compare the
two paired; reviews and the assignment itself are guardrails. Looks fall on registered days after the first
round that was drawn; harm ends it on any day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from hrloop import as_of as moment
from hrloop import evaluation, release
from hrloop.evaluation import comparison, experiment
from hrloop.learning import Fitted, fit, search
from hrloop.release import experiments
from hrloop.release.experiments import Experiment
from hrloop.rhythms import Loop, candidates, matured
from hrloop.usecase import UseCase
from hrloop.warehouse import steps

STEP = "quarterly_champion_challenger"
LOOK = "experiment_look"


@dataclass(frozen=True)
class Drawn:
    """The rounds that an experiment has drawn: groups by arm, and the as_of of the first one, if any."""

    arms: dict[str, int]
    since: datetime | None

    def day(self, as_of: datetime) -> int:
        """Whole days since the first round; 0 as long as there is none."""
        return (as_of - self.since) // timedelta(days=1) if self.since else 0


def is_due(loop: Loop, use_case: str, as_of: datetime) -> bool:
    """Whether no search was made before ``as_of`` in its calendar quarter.

    A day on which there was no champion to challenge, or another experiment ran, does not count as one.
    """
    first = as_of.replace(month=as_of.month - (as_of.month - 1) % 3, day=1, hour=0, minute=0, second=0)
    with loop.warehouse.engine("engine").connect() as connection:
        runs = steps.done_between(connection, STEP, use_case, first - timedelta(microseconds=1), as_of)
    return not any("trials" in summary for _, summary in runs)


def start(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Search, and begin an experiment with the winner.

    Nothing is begun (verdict ``keep``, with the reason) without a champion, while another experiment runs,
    when the search found nothing better than the champion's architecture on the forward folds, and when the
    winner is measurably worse than the champion on held-out labels already. Raises as
    ``retraining.retrain``.
    """
    return matured.verdict_once(loop, STEP, use_case, as_of, _start)


def _start(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    champion = matured.champion(loop, declaration)
    running = experiments.running(loop.warehouse, declaration.name, as_of)
    if champion is None:
        return {"verdict": "keep", "reasons": ["there is no champion to challenge"]}
    if running is not None and running.started_at != as_of:
        return {"verdict": "keep", "reasons": [f"the experiment with version {running.challenger} runs"]}
    return _begin(loop, declaration, champion, as_of)


def _begin(loop: Loop, declaration: UseCase, champion: release.Serving, as_of: datetime) -> dict:
    frame = candidates.frame_without_leaks(loop, declaration, as_of)
    found = search.search(declaration, frame, as_of)
    trials = [
        {name: value for name, value in row.items() if name != "architecture"}
        for row in found.trials.to_dict("records")
    ]
    told = {"trials": trials, "notes": list(found.notes)}
    if found.winner == matured.architecture_of(declaration, champion.fitted):
        return {"verdict": "keep", "reasons": ["no architecture did better than the champion's"], **told}
    fitted = fit(declaration, frame, as_of, found.winner)
    alpha = comparison.error_of_an_experiment(declaration.promotion.false_promotions_a_year)
    about = (f"{trials[0]['family']}: {trials[0]['parameters']}",)
    finding = candidates.successor(loop, declaration, frame, fitted, champion, as_of, alpha, about)
    if finding.verdict == "keep":
        release.keep(loop.warehouse, declaration, finding, as_of, STEP)
        return {"verdict": "keep", "reasons": list(finding.reasons), **told}
    number = release.challenge(
        loop.warehouse, loop.registry, declaration, fitted, finding, frame, as_of, STEP
    )
    begun = experiments.begin(loop.warehouse, declaration, number, as_of)
    return {
        "verdict": "experiment",
        "version": number,
        "experiment": begun.experiment_id,
        "share": begun.share,
        "looks": list(begun.looks),
        "reasons": list(finding.reasons),
        **told,
    }


def look(loop: Loop, use_case: str, as_of: datetime) -> dict:
    """Look at the experiment that runs at ``as_of``; its verdict ends it, and ``promote`` asks the owner.

    On a day that is no registered look only harm, the assignment and the reviews are looked at. Returns the
    signals and the verdict, None while it goes on or when none runs.
    """
    return matured.verdict_once(loop, LOOK, use_case, as_of, _find)


def _find(loop: Loop, declaration: UseCase, as_of: datetime) -> dict:
    running = experiments.to_look_at(loop.warehouse, declaration.name, as_of)
    if running is not None:
        return _look(loop, declaration, running, as_of)
    latest = experiments.latest(loop.warehouse, declaration.name)
    if latest is not None and latest.verdict == "promote" and latest.ended_at < as_of:
        _ask(loop, declaration, latest)  # its look may have been cut short before it asked
    return {"verdict": None, "reasons": ["no experiment has run a day"]}


def _ask(loop: Loop, declaration: UseCase, won: Experiment) -> None:
    """Ask the owner for approval of who won, with the evidence of the last look; once."""
    words = won.evidence[moment.text(won.ended_at)]["finding"]["words"]
    release.request_approval(loop.warehouse, loop.registry, declaration, won.challenger, words, won.ended_at)


def _look(loop: Loop, declaration: UseCase, running: Experiment, as_of: datetime) -> dict:
    champion = matured.champion(loop, declaration)
    if champion is None or champion.version != running.champion:
        reasons = ("the champion has changed since it began, so there is nothing left to compare with",)
        experiments.look(loop.warehouse, running, as_of, {}, "insufficient_evidence", reasons)
        return {"verdict": "insufficient_evidence", "reasons": list(reasons)}
    challenger = loop.registry.load(declaration.name, running.challenger).fitted
    frame = matured.training_frame(loop, declaration, as_of)
    rows = matured.labelled(declaration, frame, as_of)
    rows = rows[rows["label_known_at"] > running.started_at]
    drawn = _drawn(loop, running, as_of)
    signals, finding = _signals(loop, declaration, running, drawn, frame, rows, challenger, champion, as_of)
    fallen = evaluation.verdict.experiment(signals, declaration.promotion, declaration.experiment)
    if fallen and fallen.kind == "promote":
        alarm = candidates.drift(loop, declaration, frame, rows["decided_at"], as_of)
        fallen = evaluation.verdict.unless_shifted(fallen, alarm)
    figures = _figures(signals, len(rows))
    if finding is not None:
        figures["finding"] = finding.as_json()
    kind, reasons = (fallen.kind, fallen.reasons) if fallen else (None, ())
    looked_at = experiments.look(loop.warehouse, running, as_of, figures, kind, reasons)
    if kind == "promote":
        _ask(loop, declaration, looked_at)
    elif kind:
        closed = release.Finding(kind, "; ".join(reasons), reasons, compared_with=running.champion)
        release.keep(loop.warehouse, declaration, closed, as_of, STEP)
    return {"verdict": kind, "reasons": list(reasons), "day": signals.day, **_figures(signals, len(rows))}


def _signals(
    loop: Loop,
    declaration: UseCase,
    running: Experiment,
    drawn: Drawn,
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    challenger: Fitted,
    champion: release.Serving,
    as_of: datetime,
) -> tuple[evaluation.verdict.ExperimentSignals, release.Finding | None]:
    """What is known of the experiment today, and on a registered look the finding for its owner."""
    declared, day = declaration.experiment, drawn.day(as_of)
    alpha = _level(declaration, running, day, as_of, len(rows))
    found = finding = None
    if alpha is not None and len(rows):
        found = candidates.compare(loop, declaration, frame, rows, challenger, champion, as_of, alpha)
        fallen = evaluation.verdict.successor(found, declaration.promotion)
        finding = candidates.finding_of(
            declaration, found, fallen, running.champion, as_of, challenger.summary
        )
    arms, reviews = drawn.arms, matured.reviewed(loop, running.use_case, as_of)
    reviews = reviews[reviews["decided_at"] >= (drawn.since or as_of)]
    return evaluation.verdict.ExperimentSignals(
        day=day,
        sample_ratio=experiment.sample_ratio(
            arms, {"champion": 1 - running.share, "challenger": running.share}
        )
        if sum(arms.values())
        else None,
        harm=matured.harm(loop, declaration, rows, challenger, champion, declared.harm_significance.value),
        overrules=experiment.share_difference(
            reviews["overruled"].to_numpy(bool),
            (reviews["arm"] == "challenger").to_numpy(bool),
            reviews["group_key"].to_numpy(str),
            alpha=declared.harm_significance.value,
        ),
        comparison=found,
    ), finding


def _level(declaration: UseCase, running: Experiment, day: int, as_of: datetime, labels: int) -> float | None:
    """What today's comparison may err by, if a registered look is due today; else None.

    A look is due once its day has come and no comparison was made since; the error is spent over the looks
    that were made, by the labels that each had (O'Brien and Fleming; Lan and DeMets). One on record for this
    very as_of was cut short, and is made again.
    """
    today = moment.text(as_of)
    before = [figures for when, figures in running.evidence.items() if when != today and figures["looked"]]
    done = [(figures["day"], figures["labels"]) for figures in before]
    due = max((one for one in running.looks if one <= day), default=None)
    if due is None or labels == 0 or any(made >= due or had >= labels for made, had in done):
        return None
    alpha = comparison.error_of_an_experiment(declaration.promotion.false_promotions_a_year)
    last = running.looks[-1]
    days, information = [made for made, _ in done] + [day], [had for _, had in done] + [labels]
    fractions = [min(1.0, one / last) for one in days]
    return experiment.o_brien_fleming(alpha, fractions, information)[-1].level


def _drawn(loop: Loop, running: Experiment, as_of: datetime) -> Drawn:
    """What the experiment has drawn by ``as_of``.

    Drawn is what both versions scored: the round of the day on which it began was decided before, by the
    champion alone, where decisions come first in the day.
    """
    rows = loop.warehouse.read(
        "engine",
        """
        select arm, count(distinct group_key) as groups, min(decisions.as_of) as since
        from loop.decisions as decisions
        inner join loop.shadow_scores as scores on decisions.decision_id = scores.decision_id
        where
            decisions.use_case = :use_case
            and decisions.as_of between :started and :as_of
            and scores.model_version in (:champion, :challenger)
        group by arm
        """,
        use_case=running.use_case,
        started=running.started_at,
        as_of=as_of,
        champion=running.champion,
        challenger=running.challenger,
    ).to_pylist()
    arms = {"champion": 0, "challenger": 0} | {row["arm"]: row["groups"] for row in rows}
    return Drawn(arms, min((row["since"] for row in rows), default=None))


def _figures(signals: evaluation.verdict.ExperimentSignals, labels: int) -> dict:
    """The signals as JSON holds them."""
    harm, overrules = signals.harm, signals.overrules
    gain = signals.comparison.improvement["brier"].as_dict() if signals.comparison else None
    return {
        "day": signals.day,
        "labels": labels,
        "looked": signals.comparison is not None,
        "sample_ratio": signals.sample_ratio,
        "harm": {"p_value": harm.p_value, "groups": harm.n, "shown": harm.shown} if harm else None,
        "overrules": overrules.as_dict() if overrules else None,
        "improvement": gain,
        "alpha": signals.comparison.alpha if signals.comparison else None,
    }
