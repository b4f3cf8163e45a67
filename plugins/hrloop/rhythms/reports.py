"""Reports to be opened in a browser: an experiment and drift for the model owner, the week for HR.

Single HTML files that load nothing from anywhere, in ``<home>/reports``.
"""

from datetime import datetime, timedelta
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from sqlalchemy import text

from hrloop import as_of as moment
from hrloop import pages
from hrloop.evaluation import drift as distances
from hrloop.release import experiments
from hrloop.rhythms import Loop, Refused, matured, verdict_of
from hrloop.rhythms.experiments import STEP
from hrloop.usecase import UseCase

WEEK = timedelta(days=7)
SAMPLE = 20_000  # rows a side for Evidently, which takes 9 s at 100,000 of 30 columns and tells no more


def experiment(loop: Loop, use_case: str) -> Path:
    """Write the report of a use case's newest experiment, and return where. Raises Refused without one."""
    declaration = loop.use_case(use_case)
    found = experiments.latest(loop.warehouse, use_case)
    if found is None:
        raise Refused(f"{use_case} has had no experiment yet; quarterly_champion_challenger begins one")
    begun = verdict_of(loop, STEP, found.started_at, use_case) or {}
    looks = [{"as of": when, **figures} for when, figures in found.evidence.items()]
    verdict = (found.verdict or "goes on").replace("_", " ")
    title = f"{declaration.title}: version {found.challenger} tried against version {found.champion}"
    parts = [
        f"<p class='verdict'><strong>{escape(verdict.capitalize())}.</strong>"
        f" {escape('; '.join(found.reasons))}</p>",
        f"<p>Begun {moment.text(found.started_at)}. The challenger decides {found.share:.0%} of the groups;"
        f" both score every case. Looks are on days {', '.join(map(str, found.looks))}, set before the"
        " start. A plain comparison of the two arms could not choose a winner in four weeks"
        " (docs/statistics.md); what chooses is the paired comparison on outcomes known since."
        " The arms serve the guardrails.</p>",
        "<h2>Better or worse than the champion</h2>",
        _figure(looks),
        "<h2>Every look</h2>",
        pages.table(
            [
                "as of",
                "day",
                "new labels",
                "better by (Brier)",
                "from",
                "to",
                "harm p",
                "arms p",
                "overruled more by",
            ],
            [_look(look) for look in looks],
        ),
        "<h2>The search</h2>",
        "".join(f"<p>{escape(note)}</p>" for note in begun.get("notes", [])),
        pages.table(
            ["family", "log loss on forward folds", "spread", "parameters"],
            [
                [one["family"], _number(one["log_loss"]), _number(one["spread"]), _parameters(one)]
                for one in begun.get("trials", [])
            ],
        ),
    ]
    return _written(loop, f"experiment-{use_case}-{found.started_at:%Y-%m-%d}", title, parts)


def weekly(loop: Loop, as_of: datetime) -> Path:
    """Write what changed in the week before ``as_of`` and what the rhythms found, for every use case."""
    since = as_of - WEEK
    with loop.warehouse.engine("engine").connect() as connection:
        notes = connection.execute(
            text(
                "select r.use_case, r.as_of, n.language, n.words from loop.change_notes as n"
                " join loop.releases as r using (release_id) where r.as_of > :since and r.as_of <= :as_of"
                " order by r.sequence, n.language"
            ),
            {"since": since, "as_of": as_of},
        ).all()
        found = connection.execute(
            text(
                "select as_of, use_case, step, state, summary from loop.steps"
                " where as_of > :since and as_of <= :as_of and summary ? 'verdict'"
                " order by as_of, use_case, step"
            ),
            {"since": since, "as_of": as_of},
        ).all()
    parts = (
        ["<h2>What changed</h2>"] if notes else ["<p class='verdict'>Nothing that decides has changed.</p>"]
    )
    parts += [f"<p lang='{note.language}'>{escape(note.words)}</p>" for note in notes]
    parts.append("<h2>What the rhythms found</h2>")
    parts.append(
        pages.table(
            ["as of", "use case", "rhythm", "verdict", "why"],
            [
                [
                    f"{row.as_of:%Y-%m-%d}",
                    row.use_case,
                    row.step.replace("_", " "),
                    (row.summary["verdict"] or "goes on").replace("_", " "),
                    "; ".join(row.summary.get("reasons", [])),
                ]
                for row in found
            ],
        )
    )
    return _written(loop, f"week-{as_of:%Y-%m-%d}", f"HR loop: the week to {as_of:%Y-%m-%d}", parts)


def drift(loop: Loop, use_case: str, as_of: datetime) -> tuple[Path, pd.DataFrame]:
    """Write how the declared features have moved since the cases that the champion was fitted on.

    Compared are the cases decided up to the newest of those, and the ones decided after it, as the monthly
    rhythm does. Returns where Evidently's page is, and ``distances.by_feature`` of all cases. Raises Refused
    without a champion, and where there are no cases on one side.
    """
    declaration = loop.use_case(use_case)
    matured.check_built(loop, "report drift", as_of)
    champion = matured.champion(loop, declaration)
    if champion is None:
        raise Refused(f"{use_case} has no champion, so there are no cases to compare the newest with")
    frame = matured.training_frame(loop, declaration, as_of)
    newer = frame["decided_at"] > matured.fitted_to(champion.fitted)
    learnt, newest = (frame.loc[rows, declaration.feature_names] for rows in (~newer, newer))
    if learnt.empty or newest.empty:
        raise Refused(
            f"{use_case} at {moment.text(as_of)}: {len(learnt)} cases up to those that version"
            f" {champion.version} was fitted on, and {len(newest)} newer ones; drift needs both"
        )
    path = _put(loop, f"drift-{use_case}-{as_of:%Y-%m-%d}", drift_page(declaration, learnt, newest))
    return path, distances.by_feature(learnt, newest)


def drift_page(declaration: UseCase, learnt: pd.DataFrame, newest: pd.DataFrame) -> str:
    """Evidently's data drift report of the declared features, on a sample, by the distances it prefers.

    A feature without a value on one side is left out of it: Evidently refuses such a column, and
    ``distances.by_feature`` has it.
    """
    from evidently import DataDefinition, Dataset, Report  # takes seconds, and this report alone needs it
    from evidently.presets import DataDriftPreset

    seed = declaration.learner.seed
    reference, current = (side.sample(min(len(side), SAMPLE), random_state=seed) for side in (learnt, newest))
    shown = [
        feature
        for feature in declaration.features
        if reference[feature.name].notna().any() and current[feature.name].notna().any()
    ]
    names = [feature.name for feature in shown]
    definition = DataDefinition(
        numerical_columns=[feature.name for feature in shown if feature.type == "number"],
        categorical_columns=[feature.name for feature in shown if feature.type != "number"],
    )
    datasets = (Dataset.from_pandas(side[names], definition) for side in (current, reference))
    return Report([DataDriftPreset(columns=names)]).run(*datasets).get_html_str(as_iframe=False)


def _figure(looks: list[dict]) -> str:
    """The paired difference with its interval at each registered look."""
    made = [look for look in looks if look.get("improvement")]
    if not made:
        return "<p>No registered look has been made yet.</p>"
    gains = [look["improvement"] for look in made]
    value = [gain["value"] for gain in gains]
    figure = go.Figure(
        go.Scatter(
            x=[f"day {look['day']}" for look in made],
            y=value,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [gain["high"] - gain["value"] for gain in gains],
                "arrayminus": [gain["value"] - gain["low"] for gain in gains],
            },
            mode="markers",
            marker={"size": 11, "color": "#0969da"},
        )
    )
    figure.add_hline(y=0, line_color="#57606a", line_dash="dot")
    figure.update_layout(yaxis_title="lower Brier score than the champion's", height=340)
    return pages.figure(figure, with_library=True)


def _look(look: dict) -> list[str]:
    gain, harm, overrules = look.get("improvement"), look.get("harm"), look.get("overrules")
    return [
        look["as of"],
        str(look.get("day", "–")),
        str(look.get("labels", "–")),
        *(_number(gain[part]) if gain else "–" for part in ("value", "low", "high")),
        _number(harm["p_value"]) if harm else "–",
        _number(look.get("sample_ratio")),
        f"{overrules['value']:+.1%}" if overrules and overrules["value"] is not None else "–",
    ]


def _parameters(trial: dict) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial["parameters"].items()
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _written(loop: Loop, name: str, title: str, parts: list[str]) -> Path:
    return _put(loop, name, pages.page(title, parts))


def _put(loop: Loop, name: str, page: str) -> Path:
    return pages.put(loop.settings.home / "reports" / f"{name}.html", page)
