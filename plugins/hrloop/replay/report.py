"""What the replays found, as one page: how good each policy truly was, and how good it looked."""

from collections.abc import Sequence
from dataclasses import asdict
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

END = 6  # months at the end of a replay that are told together, and at most at its start
LOOP, OTHERS = "loop", ("static", "naive")
COLOURS = {
    "static": "#57606a", "naive": "#bf8700", "loop": "#0969da", "no-calibration": "#8250df",
    "no-exploration": "#1a7f37", "no-gate": "#cf222e", "no-reviews": "#bf3989",
}  # fmt: skip
# Figure → name, whether more is better, format, words.
FIGURES = {
    "error": (
        "error",
        False,
        ".4f",
        "Mean squared difference between the probability that was said and the true one: the Brier score,"
        " less what chance alone makes of it. 0 would be perfect.",
    ),
    "hired_error": (
        "error on those hired",
        False,
        ".4f",
        "The same among those who were hired. Outcomes exist of these alone, and people hire by more than the"
        " model is told: of them a model can learn what to say.",
    ),
    "true_auc": (
        "AUC",
        True,
        ".3f",
        "The chance that of two applicants the better one is ranked higher. Dashed: by one who knew all.",
    ),
    "true_calibration": (
        "calibration error",
        False,
        ".3f",
        "How far the probabilities that were said lie from the shares of good outcomes among those of whom"
        " the same was said.",
    ),
    "advanced": (
        "quality of those recommended",
        True,
        ".1%",
        "Mean true probability of a good outcome of those whom the model recommended to interview.",
    ),
    "quality": (
        "quality of hire",
        True,
        ".1%",
        "Mean true probability of a good outcome of those who were hired. People choose them, among the"
        " recommended for the most part.",
    ),
}
SEEN = {"auc": "AUC", "brier": "Brier score"}
LOOKS = ("seen_auc", "seen_brier", "true_brier")  # with true_auc: what accuracy looks like, and what it is
TRYING = ("retrain", "reweight")  # rhythms that look for drift before they try a version
NOT_SHOWN = (
    "In no scenario does the company quite stand still: in its second year and its fourth, its past included,"
    " it lays people off, and a file of its third year comes incomplete.",
    "The company is made up. Its truth has interactions, hidden traits, bias and dirt, but it was written by"
    " the same people as the loop; what the figures say of a real company is unknown.",
    "Seeds differ in people and chance, not in how the company works: no interval allows for another one.",
    "One figure a policy and scenario is read here; with many of them, one in twenty intervals misses by"
    " chance.",
    "The model owner approves whatever is proposed, at once. A careful owner would refuse some of it.",
    "Recruiters overrule a quarter of what they are shown, whatever it is worth: reviews cannot make"
    " decisions better here, and the company's truth knows nothing of what recruiters see in person.",
    "Files come once a month. A run of a rhythm on the day they come stands for the days until the next; with"
    " one as_of a month that is longer than a release is watched, so that none is ever rolled back.",
    "People hire by what they see in person, which no feature tells. What labels say is too favourable of"
    " those who are not hired, under every policy: the error on all applicants cannot become small.",
)


def write(settings: Settings, setting: Setting, cases: Sequence[Case], command: str) -> Path:
    """Write the page of these replays, as far as they are on file, and return where.

    Beside it, ``replay.csv`` has a row for each one that is finished, as the second of ``tables``.
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
    parts = [_what(setting, cases, kept, command), _overview(ends, scenarios)]
    for number, scenario in enumerate(scenarios):
        parts += _scenario(
            setting, scenario, policies, months[months["scenario"] == scenario],
            ends[ends["scenario"] == scenario] if len(ends) else ends,
            {case: rows for case, rows in kept.items() if case.scenario == scenario},
            with_library=number == 0,
        )  # fmt: skip
    parts += ["<h2>What this does not show</h2>", _items(NOT_SHOWN)]
    parts += ["<h2>Time</h2>", _time(kept)]
    page = pages.page("Does the loop beat a model that stands still?", parts)
    reports = settings.home / "reports"
    rows = ends.assign(code=pool.code_of(settings)).to_csv(index=False, float_format="%.6g")
    pages.put(reports / "replay.csv", rows)
    return pages.put(reports / "replay.html", page)


# --- figures ---------------------------------------------------------------------------------------------


def tables(kept: dict[Case, list[dict]], setting: Setting, minimum: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The replays as two tables: a row a month, and a row a replay with what its last months come to.

    ``minimum``: people in a group below which it has no impact ratio. Replays that are not finished have no
    row in the second.
    """
    months = pd.DataFrame([_month(case, row) for case, rows in kept.items() for row in rows])
    finished = {case: rows for case, rows in kept.items() if len(rows) == setting.months}
    return months, pd.DataFrame([_end(case, rows, setting, minimum) for case, rows in finished.items()])


def first_months(setting: Setting) -> int:
    """The months at the start by which the last ones are told: those before a scenario begins, at most END.

    0 where there are none, or where they would be among the last ones.
    """
    return min(END, setting.change, max(0, setting.months - END))


def _case(case: Case) -> dict:
    return {"scenario": case.scenario, "seed": case.seed, "policy": case.policy}


def _month(case: Case, row: dict) -> dict:
    figures = {
        f"{which}_{name}": row.get(which, {}).get(name, np.nan)
        for which in ("true", "seen", "ceiling", "hired_true", "hired_ceiling")
        for name in ("auc", "brier", "calibration")
    }
    error = figures["true_brier"] - figures["ceiling_brier"]
    hired_error = figures["hired_true_brier"] - figures["hired_ceiling_brier"]
    quality = np.nan if row["quality"] is None else row["quality"]
    advanced, first_ranked = row.get("advanced", np.nan), row.get("first_ranked", np.nan)
    return (
        _case(case)
        | figures
        | {"month": row["month"], "error": error, "quality": quality, "advanced": advanced}
        | {"hired_error": hired_error, "exploration": first_ranked - advanced}
    )


def _end(case: Case, rows: list[dict], setting: Setting, minimum: int) -> dict:
    months = pd.DataFrame([_month(case, row) for row in rows])
    last, changes = rows[-END:], [change for row in rows for change in row.get("changes", [])]
    promoted = [change for change in changes if change["kind"] == "promote"]
    attributes = sorted({name for row in last for name in row.get("selections", {})})
    figures = [*FIGURES, *LOOKS]
    return (
        _case(case)
        | asdict(setting)
        | months[figures].tail(END).mean().to_dict()
        | {f"first_{name}": months[name].head(first_months(setting)).mean() for name in figures}
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


def since_the_start(ends: pd.DataFrame, policy: str, figure: str) -> Interval:
    """How much better a policy is in its last months than in its first, seed by seed; above 0 is better."""
    mine = ends[ends["policy"] == policy]
    sign = 1 if FIGURES[figure][1] else -1
    return measures.over_seeds(sign * (mine[figure] - mine[f"first_{figure}"]).to_numpy())


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
        "<p>A row for each finished replay: <a href='replay.csv'>replay.csv</a>.</p>"
        + pages.table(
            ["policy", "what it is"],
            [[name, POLICIES[name].words] for name in POLICIES if name in {case.policy for case in cases}],
        )
    )


def _overview(ends: pd.DataFrame, scenarios: Sequence[str]) -> str:
    """By scenario: in what the loop is better than the others at the end, worse, or not told from them; the
    loop without one of its parts tells what this part is worth."""
    rows = against_others(ends, scenarios) if len(ends) else []
    if not rows:
        return ""
    names = ["scenario", "loop against", *(name for name, *_ in FIGURES.values())]
    return (
        f"<h2>In short</h2><p>The last {END} months, paired by seed. <em>Cannot tell</em>: the interval over"
        " seeds reaches across 0.</p>" + pages.table(names, rows)
    )


def against_others(ends: pd.DataFrame, scenarios: Sequence[str]) -> list[list[str]]:
    """A row of cells for each scenario and policy that the loop stands beside: these two, and what is said of
    each of the FIGURES."""
    rows = []
    for scenario in scenarios:
        mine = ends[ends["scenario"] == scenario]
        for other in (name for name in POLICIES if name != LOOP):
            gains = {figure: paired(mine, LOOP, other, figure) for figure in FIGURES}
            if gains["error"].n:
                rows.append(
                    [scenario, other, *(compared(gain, FIGURES[name][2]) for name, gain in gains.items())]
                )
    return rows


def compared(gain: Interval, form: str) -> str:
    """A gain over seeds in words, with half its interval; a dash where there is none. form: as in FIGURES."""
    if not np.isfinite(gain.value):
        return "–"
    sign = "+" if gain.value >= 0 else "−"
    return f"{_side(gain)}: {sign}{_amount(gain, form)}"


def _amount(gain: Interval, form: str) -> str:
    """How large a gain or a loss is, with half its interval; between shares in percentage points."""
    scale, form, unit = (100, ".1f", " points") if form.endswith("%") else (1, form, "")
    spread = f" ± {scale * (gain.high - gain.value):{form}}" if np.isfinite(gain.high) else ""
    return f"{scale * abs(gain.value):{form}}{spread}{unit}"


def _side(gain: Interval) -> str:
    """What an interval of a gain over seeds says."""
    return "better" if gain.is_above(0) else "worse" if gain.is_below(0) else "cannot tell"


def _items(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in sentences)}</ul>"


def _scenario(
    setting: Setting,
    scenario: str,
    policies: list[str],
    months: pd.DataFrame,
    ends: pd.DataFrame,
    kept: dict[Case, list[dict]],
    with_library: bool,
) -> list[str]:
    begins = "" if scenario == "steady" else f" It begins with month {setting.change}."
    parts = [f"<h2>Scenario: {escape(scenario)}</h2><p>{escape(TOLD[scenario])}{begins}</p>"]
    first = first_months(setting)
    if len(ends):
        parts.append(_verdict(ends))
        if first:
            parts += [
                "<h3>From the start to the end</h3>"
                f"<p>The last {END} months against the first {first} of the same policy.</p>",
                _items([_aged(ends, policy) for policy in policies if policy in set(ends["policy"])]),
            ]
        parts += [
            _why(months, ends, kept),
            "<h3>Figures</h3>",
            _ends(ends, policies, first),
            _changes(ends, policies),
        ]
    for number, (figure, (name, _, _, words)) in enumerate(FIGURES.items()):
        parts.append(f"<h3>{name[0].upper()}{name[1:]}</h3><p>{words}</p>")
        drawn = _lines(setting, scenario, months, policies, figure)
        parts.append(pages.figure(drawn, with_library and number == 0))
    parts.append(
        "<h3>What visible accuracy says</h3><p>Solid: the truth, on all applicants. Dotted: the same figure"
        " on the outcomes of the last quarter that neither the model in charge nor its live calibrator had"
        " learnt from, unweighted, as a table of accuracy would show it. They are of those who were chosen,"
        " months ago.</p>"
    )
    for figure in SEEN:
        parts.append(pages.figure(_illusion(setting, scenario, months, policies, figure), False))
    return parts


def _verdict(ends: pd.DataFrame) -> str:
    """In words: where the loop is better, where it is worse, and where the seeds cannot tell."""
    said = []
    for other in OTHERS:
        gains = {figure: paired(ends, LOOP, other, figure) for figure in FIGURES}
        if not gains["error"].n:
            continue
        parts = []
        for side in ("better", "worse", "cannot tell"):
            names = [
                f"{FIGURES[figure][0]} by {_amount(gain, FIGURES[figure][2])}"
                if side != "cannot tell"
                else FIGURES[figure][0]
                for figure, gain in gains.items()
                if _side(gain) == side
            ]
            if names:
                told = side if side != "cannot tell" else "these seeds cannot tell"
                parts.append(f"{told} in {', '.join(names)}")
        said.append(f"Against {other}: {'; '.join(parts)}.")
    if not said:
        return ""
    head = f"<strong>The loop in the last {END} months</strong>"
    return f"<div class='verdict'>{head}{_items(said)}</div>"


def _aged(ends: pd.DataFrame, policy: str) -> str:
    """In words: whether a policy decides better at the end than at the start."""
    said = []
    for figure in ("error", "true_auc"):
        name, _, form, _ = FIGURES[figure]
        gain = since_the_start(ends, policy, figure)
        said.append(f"{name} {compared(gain, form)}")
    return f"{policy}: {'; '.join(said)}."


def _why(months: pd.DataFrame, ends: pd.DataFrame, kept: dict[Case, list[dict]]) -> str:
    """In words, out of what was measured: what kept the loop from changing, and what its caution cost."""
    rows = [row for case, lived in kept.items() if case.policy == LOOP for row in lived]
    tried = [one for row in rows for one in row.get("tried", [])]
    told = [one for one in tried if one["gain"]["low"] is not None and one["gain"]["high"] is not None]
    if not told:
        return ""
    half = float(np.median([(one["gain"]["high"] - one["gain"]["low"]) / 2 for one in told]))
    seen = float(np.median([one["gain"]["value"] for one in told]))
    labels = int(np.median([one["labels"] for one in told]))
    promoted = sum(one["verdict"] == "promote" for one in tried)
    replays = sum(case.policy == LOOP for case in kept)
    said = [
        f"{len(tried)} times a new version of retraining, reweighting or the quarterly search was compared"
        f" with the one in charge in {replays} replays, and"
        f" {promoted} times it was promoted. In the median a comparison had {labels} labels that neither"
        f" version had learnt from; it saw a gain of {seen:+.4f} in Brier score, and could tell one of"
        f" {half:.4f} from chance."
    ]
    newest = paired(ends, "naive", LOOP, "error")
    if newest.n:
        said.append(_newest(newest, half, seen))
    shifted = [verdict[3] for row in rows for verdict in row["verdicts"] if verdict[1] in TRYING]
    if any(shifted):
        said.append(
            f"In {sum(shifted)} of {len(shifted)} runs of the rhythms that try versions the drift alarm"
            " stood; as long as it stands nothing is promoted."
        )
    cost = measures.over_seeds(
        months[months["policy"] == LOOP].groupby("seed")["exploration"].mean().to_numpy()
    )
    if np.isfinite(cost.value):
        said.append(
            f"Drawing some cases near the cut by lot cost {100 * cost.value:.1f} percentage points of the"
            " quality of those recommended."
        )
    calibrated = ends.loc[ends["policy"] == LOOP, ["calibrations", "false_calibrations"]].sum()
    if calibrated["calibrations"]:
        said.append(
            f"{calibrated['calibrations']:.0f} times the calibrator was changed, and"
            f" {calibrated['false_calibrations']:.0f} of these truly raised the error."
        )
    not_shown = [
        f"{FIGURES[figure][0]} (than {other})"
        for other in OTHERS
        for figure in FIGURES
        if (gain := paired(ends, LOOP, other, figure)).n and not gain.is_above(0)
    ]
    if not_shown:
        said.insert(0, f"Not measurably better: {', '.join(not_shown)}.")
    head = "Why the loop is not better in everything" if not_shown else "What the loop's caution cost"
    return f"<h3>{head}</h3>{_items(said)}"


def _newest(gain: Interval, half: float, seen: float) -> str:
    """What putting the newest fit in charge unseen would have given, beside what comparisons can tell.

    gain: of naive over the loop; half: half the width of a comparison's interval; seen: the gain that
    comparisons saw, both medians.
    """
    naive, amount = "The newest fit, put in charge unseen (naive),", _amount(gain, ".4f")
    if gain.is_below(0):
        return f"{naive} ended with an error {amount} higher than the loop's: waiting for evidence paid."
    if not gain.is_above(0):
        return (
            f"{naive} cannot be told from the loop by its error ({compared(gain, '.4f')}): nor can what"
            " waiting for evidence cost."
        )
    told = f"{naive} ended with an error {amount} lower than the loop's. "
    if gain.value < half:
        return told + (
            "So small a gain is below what that many labels can tell from chance: the gate of evidence keeps"
            " what it cannot show to be better, and more labels would be needed to let it through."
        )
    return told + (
        f"That many labels can tell so large a gain, but the comparisons saw one of {seen:+.4f}: they are"
        " made on outcomes that have matured, of those who were selected months before."
    )


def _ends(ends: pd.DataFrame, policies: list[str], first: int) -> str:
    told = [(f"first {first}", "first_")] if first else []
    rows = []
    for policy in policies:
        mine = ends[ends["policy"] == policy]
        for when, prefix in (*told, (f"last {END}", "")):
            figures = [
                averaged(mine[f"{prefix}{figure}"], form) for figure, (_, _, form, _) in FIGURES.items()
            ]
            rows.append([policy, when, *figures])
    return pages.table(["policy", "months", *(name for name, *_ in FIGURES.values())], rows)


def _changes(ends: pd.DataFrame, policies: list[str]) -> str:
    columns = {
        "routed": ("cases sent to a person a month", ".0f"),
        "reviews": ("reviewed a month", ".0f"),
        "promotions": ("promotions", ".1f"),
        "false_promotions": ("of them truly worse", ".1f"),
        "rolled_back": ("rolled back", ".1f"),
        "calibrations": ("changes of calibrator", ".1f"),
        "false_calibrations": ("of these truly worse", ".1f"),
        "refusals": ("refused runs", ".1f"),
        "gate_failures": ("months without a round", ".1f"),
    }
    for name in ends.columns:
        if name.startswith("ratio_"):
            columns[name] = (f"lowest impact ratio, {name.removeprefix('ratio_').replace('_', ' ')}", ".2f")
    rows = [
        [
            policy,
            *(
                averaged(ends.loc[ends["policy"] == policy, name], form)
                for name, (_, form) in columns.items()
            ),
        ]
        for policy in policies
    ]
    return (
        "<p>A replay on average. A change is truly worse when it raises the true Brier score of the month's"
        f" applicants. Impact ratios are of the recommendations of the last {END} months.</p>"
        + pages.table(["policy", *(words for words, _ in columns.values())], rows)
    )


def averaged(values: pd.Series, form: str) -> str:
    """The mean over seeds with half its interval, in words; a dash where there is none."""
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
    if figure == "true_auc":
        bound = months.groupby("month")["ceiling_auc"].mean().dropna()
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
    return _framed(drawn, setting, scenario, SEEN[figure])


def _framed(drawn: go.Figure, setting: Setting, scenario: str, name: str) -> go.Figure:
    if scenario != "steady":
        drawn.add_vline(x=setting.change, line_color="#8c959f", line_dash="dot", annotation_text="change")
    drawn.update_layout(xaxis_title="month of the replay", yaxis_title=name, height=340)
    return drawn


def _time(kept: dict[Case, list[dict]]) -> str:
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
