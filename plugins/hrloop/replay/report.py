"""What the replays found, as one page: how good each policy truly was, and how good it looked."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hrloop import pages, usecase
from hrloop.evaluation.metrics import Interval
from hrloop.replay import measures, pool, runs
from hrloop.replay.policies import POLICIES
from hrloop.replay.runs import Case, Setting
from hrloop.replay.scenarios import TOLD
from hrloop.settings import Settings

END = 6  # months at the end of a replay that are told together
LOOP, OTHERS = "loop", ("static", "naive")
COLOURS = {
    "static": "#57606a", "naive": "#bf8700", "loop": "#0969da", "no-calibration": "#8250df",
    "no-exploration": "#1a7f37", "no-gate": "#cf222e", "no-reviews": "#bf3989",
}  # fmt: skip
# Figure → name, whether more is better, format.
FIGURES = {
    "true_brier": ("Brier score", False, ".4f"),
    "true_auc": ("AUC", True, ".3f"),
    "true_calibration": ("calibration error", False, ".3f"),
    "quality": ("quality of hire", True, ".1%"),
}
WORDS = {
    "true_brier": "Mean squared difference between the probability that was said and what becomes of people.",
    "true_auc": "The chance that of two applicants the better one is ranked higher.",
    "true_calibration": "How far the probabilities that were said lie from the shares of good outcomes.",
    "quality": "Mean true probability of a good outcome of those who were hired.",
}
NOT_SHOWN = (
    "The company is made up. Its truth has interactions, hidden traits, bias and dirt, but it was written by"
    " the same people as the loop; what the figures say of a real company is unknown.",
    "Seeds differ in people and chance, not in how the company works: no interval allows for another one.",
    "One figure a policy and scenario is read here; with many of them, one in twenty intervals misses by"
    " chance.",
    "The model owner approves whatever is proposed, at once. A careful owner would refuse some of it.",
    "Recruiters overrule a quarter of what they are shown, whatever it is worth: reviews cannot make"
    " decisions better here, and the company's truth knows nothing of what recruiters see in person.",
    "Files come once a month. A run of a rhythm on the day they come stands for the days until the next.",
)


def write(settings: Settings, setting: Setting, cases: Sequence[Case], command: str) -> Path:
    """Write the page of these replays, as far as they are on file, and return where.

    ``command``: what makes the same figures again. Raises FileNotFoundError when nothing is on file.
    """
    folder = pool.folder_of(settings, setting)
    kept = {case: runs.results(folder / case.name) for case in cases}
    if not any(kept.values()):
        raise FileNotFoundError(f"no replay of this setting is on file in {folder}; run `{command}`")
    fairness = usecase.load(setting.use_case, settings.project).fairness
    months, ends = tables(kept, setting, fairness.minimum_group.value)
    scenarios = list(dict.fromkeys(case.scenario for case in cases))
    policies = [name for name in POLICIES if name in set(months["policy"])]
    parts = [_what(setting, cases, kept, command)]
    for number, scenario in enumerate(scenarios):
        parts += _scenario(
            setting, scenario, policies, months[months["scenario"] == scenario],
            ends[ends["scenario"] == scenario], with_library=number == 0,
        )  # fmt: skip
    parts += ["<h2>What this does not show</h2><ul>", *(f"<li>{escape(w)}</li>" for w in NOT_SHOWN), "</ul>"]
    parts += ["<h2>Time</h2>", _time(kept, setting)]
    page = pages.page("Does the loop beat a model that stands still?", parts)
    return pages.put(settings.home / "reports" / "replay.html", page)


# --- figures ---------------------------------------------------------------------------------------------


def tables(kept: dict[Case, list[dict]], setting: Setting, minimum: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The replays as two tables: a row a month, and a row a replay with what its last months come to.

    ``minimum``: people in a group below which it has no impact ratio. Replays that are not finished have no
    row in the second.
    """
    months = pd.DataFrame([_month(case, row) for case, rows in kept.items() for row in rows])
    finished = {case: rows for case, rows in kept.items() if len(rows) == setting.months}
    return months, pd.DataFrame([_end(case, rows, minimum) for case, rows in finished.items()])


def _case(case: Case) -> dict:
    return {"scenario": case.scenario, "seed": case.seed, "policy": case.policy}


def _month(case: Case, row: dict) -> dict:
    figures = {
        f"{which}_{name}": row.get(which, {}).get(name, np.nan)
        for which in ("true", "seen", "ceiling")
        for name in ("auc", "brier", "calibration")
    }
    quality = np.nan if row["quality"] is None else row["quality"]
    return _case(case) | figures | {"month": row["month"], "quality": quality}


def _end(case: Case, rows: list[dict], minimum: int) -> dict:
    months = pd.DataFrame([_month(case, row) for row in rows])
    last, changes = rows[-END:], [change for row in rows for change in row.get("changes", [])]
    promoted = [change for change in changes if change["kind"] == "promote"]
    attributes = sorted({name for row in last for name in row.get("selections", {})})
    return (
        _case(case)
        | months[list(FIGURES)].tail(END).mean().to_dict()
        | {f"first_{name}": months[name].head(END).mean() for name in FIGURES}
        | {
            f"ratio_{name}": measures.lowest_ratio(
                [row["selections"][name] for row in last if "selections" in row], minimum
            )
            for name in attributes
        }
        | {
            "reviews": np.mean([row.get("reviewed", 0) for row in rows]),
            "routed": np.mean([row.get("routed", 0) for row in rows]),
            "promotions": len(promoted),
            "false_promotions": sum(one["after"]["brier"] > one["before"]["brier"] for one in promoted),
            "rolled_back": sum(change["kind"] == "roll_back" for change in changes),
            "calibrations": sum(change["kind"] == "calibrate" for change in changes),
            "false_calibrations": sum(
                one["kind"] == "calibrate" and one["after"]["brier"] > one["before"]["brier"]
                for one in changes
            ),
            "gate_failures": sum("decided" not in row for row in rows),
            "refusals": sum(len(row["refusals"]) for row in rows),
        }
    )


def paired(ends: pd.DataFrame, policy: str, other: str, figure: str) -> Interval:
    """How much better one policy is than another at the end, seed by seed; above 0 is better."""
    sides = ends.pivot(index="seed", columns="policy", values=figure)
    if policy not in sides or other not in sides:
        return measures.over_seeds(np.array([]))
    sign = 1 if FIGURES[figure][1] else -1
    return measures.over_seeds(sign * (sides[policy] - sides[other]).to_numpy())


# --- the page --------------------------------------------------------------------------------------------


def _what(setting: Setting, cases: Sequence[Case], kept: dict[Case, list[dict]], command: str) -> str:
    seeds = len({case.seed for case in cases})
    decided = sum(row.get("decided", 0) for rows in kept.values() for row in rows)
    done = sum(len(rows) == setting.months for rows in kept.values())
    unfinished = f" <strong>{len(kept) - done} are not finished.</strong>" if done < len(kept) else ""
    return (
        f"<p>{done} of {len(kept)} replays of a practice company: {setting.history} months in which people"
        f" decide alone, then {setting.months} months in closed loop, {setting.applications:,} applications a"
        f" month, {seeds} seeds; {decided:,} decisions in all.{unfinished} What is learnt is whether a hire"
        f" is good after {setting.milestone} months. Every policy lives through the same company, run by the"
        " engine itself: files, quality gate, dbt, learning, registry, decisions, reviews.</p>"
        "<p>All figures marked <em>true</em> are measured on every applicant of a month, hired or not, by the"
        " probability of a good outcome that the company keeps aside and no policy sees. Bands and intervals"
        f" are 95 % (Student's) over seeds.</p><p>The same again: <code>{escape(command)}</code></p>"
        + pages.table(
            ["policy", "what it is"],
            [[name, POLICIES[name].words] for name in POLICIES if name in {case.policy for case in cases}],
        )
    )


def _scenario(
    setting: Setting,
    scenario: str,
    policies: list[str],
    months: pd.DataFrame,
    ends: pd.DataFrame,
    with_library: bool,
) -> list[str]:
    begins = "" if scenario == "steady" else f" It begins with month {setting.change}."
    parts = [f"<h2>{escape(scenario)}</h2><p>{escape(TOLD[scenario])}{begins}</p>"]
    if len(ends):
        parts += [_verdict(ends), _ends(ends, policies), _changes(ends, policies)]
    for number, figure in enumerate(FIGURES):
        name = FIGURES[figure][0]
        title = f"True {name}" if figure != "quality" else "Quality of hire"
        parts.append(f"<h3>{title}</h3><p>{WORDS[figure]}</p>")
        drawn = _lines(setting, scenario, months, policies, figure)
        parts.append(pages.figure(drawn, with_library and number == 0))
    parts.append(
        "<h3>What visible accuracy says</h3><p>Solid: the truth, on all applicants. Dotted: the same figure"
        " on the outcomes that became known in the last quarter and that the model in charge had not learnt"
        " from, unweighted, as a table of accuracy would show it. They are of those who were chosen, months"
        " ago.</p>"
    )
    for figure in ("auc", "brier"):
        parts.append(pages.figure(_illusion(setting, scenario, months, policies, figure), False))
    return parts


def _verdict(ends: pd.DataFrame) -> str:
    """In words: where the loop is better, where it is not, and where the seeds cannot tell."""
    said = []
    for other in OTHERS:
        for figure, (name, _, form) in FIGURES.items():
            gain = paired(ends, LOOP, other, figure)
            if gain.n == 0:
                continue
            better = "better" if gain.value > 0 else "worse"
            sure = gain.is_above(0) or gain.is_below(0)
            range_ = (
                f" (95 % interval {gain.low:{form}} to {gain.high:{form}})" if np.isfinite(gain.low) else ""
            )
            words = f"{name} {abs(gain.value):{form}} {better} than {other}{range_}"
            said.append(f"<li>{words}{'' if sure else ': these seeds cannot tell'}.</li>")
    if not said:
        return ""
    head = f"<strong>The loop in the last {END} months:</strong>"
    return f"<div class='verdict'>{head}<ul>{''.join(said)}</ul></div>"


def _ends(ends: pd.DataFrame, policies: list[str]) -> str:
    ratios = [name for name in ends.columns if name.startswith("ratio_")]
    names = ["policy"]
    for name, _, _ in FIGURES.values():
        names += [f"{name}, first {END} months", f"last {END}"]
    names += [f"lowest impact ratio, {name.removeprefix('ratio_').replace('_', ' ')}" for name in ratios]
    rows = []
    for policy in policies:
        mine = ends[ends["policy"] == policy]
        row = [policy]
        for figure, (_, _, form) in FIGURES.items():
            row += [_told(mine[f"first_{figure}"], form), _told(mine[figure], form)]
        rows.append(row + [_told(mine[name], ".2f") for name in ratios])
    return pages.table(names, rows)


def _changes(ends: pd.DataFrame, policies: list[str]) -> str:
    columns = {
        "routed": "cases sent to a person a month",
        "reviews": "reviewed a month",
        "promotions": "promotions",
        "false_promotions": "of them truly worse",
        "rolled_back": "rolled back",
        "calibrations": "changes of calibrator",
        "false_calibrations": "of these truly worse",
        "refusals": "refused runs",
        "gate_failures": "months without a round",
    }
    rows = [
        [policy, *(_told(ends.loc[ends["policy"] == policy, name], ".1f") for name in columns)]
        for policy in policies
    ]
    return (
        "<p>A replay on average. A change is truly worse when it raises the true Brier score of the month's"
        " applicants.</p>" + pages.table(["policy", *columns.values()], rows)
    )


def _told(values: pd.Series, form: str) -> str:
    found = measures.over_seeds(values.to_numpy())
    if not np.isfinite(found.value):
        return "–"
    spread = f" ± {found.high - found.value:{form}}" if np.isfinite(found.high) else ""
    return f"{found.value:{form}}{spread}"


def _over_seeds(months: pd.DataFrame, policy: str, figure: str) -> pd.DataFrame:
    """By month: value, low and high over seeds."""
    mine = months[months["policy"] == policy].groupby("month")[figure]
    found = {month: measures.over_seeds(values.to_numpy()) for month, values in mine}
    return pd.DataFrame(
        {"value": {m: i.value for m, i in found.items()}, "low": {m: i.low for m, i in found.items()},
         "high": {m: i.high for m, i in found.items()}}
    ).dropna(subset="value")  # fmt: skip


def _lines(
    setting: Setting, scenario: str, months: pd.DataFrame, policies: list[str], figure: str
) -> go.Figure:
    drawn = go.Figure()
    for policy in policies:
        line = _over_seeds(months, policy, figure)
        colour = COLOURS[policy]
        band = line.dropna()
        if len(band):
            drawn.add_scatter(
                x=[*band.index, *band.index[::-1]], y=[*band["high"], *band["low"][::-1]], fill="toself",
                fillcolor=colour, opacity=0.12, line={"width": 0}, hoverinfo="skip", showlegend=False,
            )  # fmt: skip
        drawn.add_scatter(x=line.index, y=line["value"], name=policy, line={"color": colour, "width": 2})
    if figure in ("true_brier", "true_auc"):
        bound = months.groupby("month")[figure.replace("true", "ceiling")].mean().dropna()
        drawn.add_scatter(
            x=bound.index, y=bound, name="best there could be", line={"color": "#8c959f", "dash": "dash"}
        )
    return _framed(drawn, setting, scenario, FIGURES[figure][0])


def _illusion(
    setting: Setting, scenario: str, months: pd.DataFrame, policies: list[str], figure: str
) -> go.Figure:
    drawn = go.Figure()
    for policy in (name for name in (*OTHERS, LOOP) if name in policies):
        for which, dash in (("true", "solid"), ("seen", "dot")):
            line = _over_seeds(months, policy, f"{which}_{figure}")
            drawn.add_scatter(
                x=line.index, y=line["value"], name=f"{policy}, {which}",
                line={"color": COLOURS[policy], "dash": dash, "width": 2},
            )  # fmt: skip
    return _framed(drawn, setting, scenario, FIGURES[f"true_{figure}"][0])


def _framed(drawn: go.Figure, setting: Setting, scenario: str, name: str) -> go.Figure:
    if scenario != "steady":
        drawn.add_vline(x=setting.change, line_color="#8c959f", line_dash="dot", annotation_text="change")
    drawn.update_layout(xaxis_title="month of the replay", yaxis_title=name, height=340)
    return drawn


def _time(kept: dict[Case, list[dict]], setting: Setting) -> str:
    """Seconds of a month by step and policy."""
    spent = pd.DataFrame(
        [{"policy": case.policy, **row["seconds"]} for case, rows in kept.items() for row in rows]
    ).fillna(0.0)
    means = spent.groupby("policy").mean()
    order = means.mean().sort_values(ascending=False).index
    policies = [name for name in POLICIES if name in means.index]
    rows = [[step, *(f"{means.loc[policy, step]:.2f}" for policy in policies)] for step in order]
    rows.append(["together", *(f"{means.loc[policy].sum():.2f}" for policy in policies)])
    return (
        "<p>Seconds that a replayed month takes, by step, while the other replays ran beside it.</p>"
        + pages.table(["step", *policies], rows)
    )
