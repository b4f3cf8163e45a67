"""``make figures``: calibration error on the newest month, with and without the daily rhythm, under a shift.

A practice company in which success becomes rarer from a month on, taken in, built and learnt from by the
engine itself, without MLflow: the calibrator that would be live is kept here, beside the one that the
champion was made with. The warehouse is built once; each day reads out of it what was known by then.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from hrloop import features, learning, practice, sources
from hrloop.evaluation import metrics
from hrloop.rhythms import Loop, calibration, intake, matured
from hrloop.settings import PROJECT, Settings
from hrloop.usecase import UseCase
from hrloop.warehouse import EmbeddedServer

FIGURE = PROJECT / "docs" / "images" / "calibration-shift.png"
USE_CASE = "recruitment"
MONTHS = 34  # 2023-10 to 2026-07
SHIFT = practice.Shift(month=8, log_odds=1.5)  # who applies from June 2024 on
FIRST_SEEN = "2025-09"  # their outcomes at twelve months come with the exports of this month's first
# The first of each month, when exports come; the champion is learnt on the first of them.
FIRSTS = [datetime(2025 + m // 12, m % 12 + 1, 1, 6, tzinfo=UTC) for m in range(3, 20)]
WEEKS = [timedelta(days=days) for days in (7, 14, 21)]  # within a month: a run a week stands for seven
PERIOD = 4  # months to a row of the table: before the shift, and three times after it
FORMS = ("event_rate", "accuracy")
DRAWS = 400  # of labels as the probabilities say: what noise alone leaves of the error


@contextmanager
def company() -> Iterator[Loop]:
    """An installation of its own with the company's exports taken in and the warehouse built."""
    with TemporaryDirectory(prefix="hrloop-figure-") as home:
        settings = Settings(home=Path(home)).model_copy(update={"database_url": None, "landing_dir": None})
        practice.history(settings, MONTHS, scenario=SHIFT)
        loop, server = Loop(settings), EmbeddedServer.of(settings)
        try:
            sources.ensure_tables(loop.warehouse)
            for step in (intake.ingest, intake.gate, intake.build):
                step(loop, FIRSTS[-1])
            yield loop
        finally:
            loop.warehouse.dispose()
            server.stop()
            shutil.rmtree(server.data, ignore_errors=True)  # as root it lies outside of home


def walk(loop: Loop, declaration: UseCase) -> tuple[pd.DataFrame, list[tuple[datetime, calibration.Found]]]:
    """Run the rhythm from month to month: the newest labels of each, and the changes of the calibrator.

    A row is a label, with the ``month`` by whose first it was known, ``without`` (probability under the
    champion's own calibrator) and ``with`` (under the one that was live on the first before, when none of
    these labels was known).
    """
    champion = learning.fit(
        declaration, features.training_frame(loop.warehouse, declaration, FIRSTS[0]), FIRSTS[0]
    )
    live = [calibration.Live(champion.calibrator)]
    newest, changes = [], []
    for first, following in pairwise(FIRSTS):
        at_first = live[-1].calibrator
        for as_of in (*(first + week for week in WEEKS), following):
            frame = features.training_frame(loop.warehouse, declaration, as_of)
            rows = matured.unseen(matured.labelled(declaration, frame, as_of), champion)
            scored = rows.assign(score=champion.score(rows))
            try:
                found = calibration.look(scored, live[-1], declaration.calibration, as_of)
            except learning.InsufficientHistory:
                continue  # too few labels change nothing
            if found.kind == "promote":
                live.append(calibration.Live(found.calibrator, as_of, live[-1].calibrator))
            elif found.kind == "roll_back":
                live.pop()
            if found.calibrator is not None:
                changes.append((as_of, found))
        month = scored[scored["label_known_at"] > first]
        newest.append(
            month.assign(
                month=f"{following:%Y-%m}",
                without=champion.calibrator.probability(month["score"]),
                **{"with": at_first.probability(month["score"])},
            )
        )
    return pd.concat(newest, ignore_index=True), changes


def errors(labels: pd.DataFrame, declaration: UseCase) -> dict:
    """Both forms of calibration error without and with the rhythm, beside what noise alone would leave.

    Weighted for selection, as the engine's evidence is; noise: of labels drawn as the rhythm's probabilities
    say. ``good``: share of good outcomes, ``said_…``: mean probability.
    """
    label, group, weight = (labels[name].to_numpy() for name in ("label", "group_key", "weight"))
    found = {"labels": len(labels), "good": np.average(label, weights=weight)}
    for which in ("without", "with"):
        probability = labels[which].to_numpy()
        found[f"said_{which}"] = np.average(probability, weights=weight)
        every = metrics.intervals(label, probability, group, weight, seed=declaration.learner.seed)
        found |= {(form, which): every[f"calibration_error_{form}"] for form in FORMS}
    probability = labels["with"].to_numpy()
    drawn = np.random.default_rng(declaration.learner.seed).random((DRAWS, len(labels))) < probability
    for form in FORMS:
        error = getattr(metrics, f"calibration_error_{form}")
        found[form, "noise"] = np.mean([error(one, probability, weight) for one in drawn])
    return found


def draw(monthly: pd.DataFrame, changes: list[tuple[datetime, calibration.Found]]) -> None:
    """What was said and what came, and both forms of the error, by the month of knowing.

    Upright lines: the first labels of the shift, and (dashed) changes of the calibrator.
    """
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    figure, axes = plt.subplots(3, 1, figsize=(8, 7.4), sharex=True, layout="constrained")
    at = np.arange(len(monthly))
    axes[0].plot(at, monthly["good"], "k.-", label="good outcomes")
    axes[0].set_title("Probability said, and what came of it", loc="left")
    for which, colour in (("without", "#bc4c00"), ("with", "#0969da")):
        axes[0].plot(at, monthly[f"said_{which}"], color=colour, label=f"said {which} the rhythm")
        for axis, form in zip(axes[1:], FORMS, strict=True):
            error = [interval.value for interval in monthly[form, which]]
            axis.plot(at, error, ".-", color=colour, label=f"{which} the rhythm")
    for axis, form in zip(axes[1:], FORMS, strict=True):
        axis.plot(at, monthly[form, "noise"], ":", color="#57606a", label="noise alone")
        axis.set_title(f"Calibration error, {form.replace('_', ' ')} form", loc="left")
    months = list(monthly.index)
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.axvline(months.index(FIRST_SEEN) - 0.5, color="#57606a", linewidth=0.8)
        for as_of, _ in changes:
            # what goes live up to a first is measured on the labels known after it
            behind = sum(first < as_of for first in FIRSTS[1:]) + 0.5
            axis.axvline(behind, color="#0969da", linewidth=0.8, linestyle="--")
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes[-1].set_xticks(at, months, rotation=45, ha="right")
    axes[-1].set_xlabel("labels that became known in the month up to the first of")
    figure.savefig(FIGURE, dpi=110)


def table(periods: pd.DataFrame) -> str:
    """The figures of each period, in Markdown."""
    columns = [(form, which) for form in FORMS for which in ("without", "with", "noise")]
    heads = ["known in the months up to", "labels", "good", "said without", "said with"]
    heads += [f"{form.replace('_', ' ')} {which}" for form, which in columns]
    rows = [
        [period, f"{row['labels']}"]
        + [f"{row[name]:.1%}" for name in ("good", "said_without", "said_with")]
        + [_figure(row[column]) for column in columns]
        for period, row in periods.iterrows()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows])


def _figure(error: metrics.Interval | float) -> str:
    return (
        f"{error:.3f}"
        if isinstance(error, float)
        else f"{error.value:.3f} ({error.low:.3f}–{error.high:.3f})"
    )


def main() -> None:
    with company() as loop:
        declaration = loop.use_case(USE_CASE)
        labels, changes = walk(loop, declaration)
    months = sorted(labels["month"].unique())
    spans = [months[start : start + PERIOD] for start in range(0, len(months), PERIOD)]
    named = {month: f"{span[0]} to {span[-1]}" for span in spans for month in span}
    draw(_by(labels["month"], labels, declaration), changes)
    print(table(_by(labels["month"].map(named), labels, declaration)))
    for as_of, found in changes:
        print(f"{as_of:%Y-%m-%d}: {found.kind}, {found.name}: {'; '.join(found.reasons)}")


def _by(key: pd.Series, labels: pd.DataFrame, declaration: UseCase) -> pd.DataFrame:
    return pd.DataFrame({name: errors(rows, declaration) for name, rows in labels.groupby(key)}).T


if __name__ == "__main__":
    main()
