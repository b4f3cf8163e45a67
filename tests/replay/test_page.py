"""The command and its page: what is on file is told as it is, and what failed makes the command fail."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hrloop.cli import app
from hrloop.cli import replay as command
from hrloop.replay import pool, report, runs
from hrloop.replay.runs import Case, Setting
from hrloop.rhythms import Loop
from hrloop.settings import Settings
from typer.testing import CliRunner

MONTHS = 8
SETTING = Setting("recruitment", 300, history=9, months=MONTHS, change=2, milestone=3, weeks=1)
OPTIONS = (
    f"replay recruitment --seeds 3 --months {MONTHS} --history 9 --applications 300 --change 2 --milestone 3"
    " --weeks 1"
).split()
CASES = [
    Case("steady", seed, policy) for policy in ("static", "naive", "loop") for seed in (1, 2, 3)
]  # as the command's defaults have it


TRIED = {
    "verdict": "insufficient_evidence",
    "labels": 90,
    "gain": {"value": 0.001, "low": -0.03, "high": 0.034, "n": 90},
}


def row(month: int, case: Case) -> dict:
    """A month in which the loop is as good as static in ranking, and better by 0.02 in Brier score."""
    r = np.random.default_rng([month, case.seed])
    brier = 0.21 + 0.002 * r.random() - 0.02 * (case.policy == "loop")
    figures = {"auc": 0.7 + 0.01 * case.seed, "brier": brier, "calibration": 0.1}
    worse = {"kind": "promote", "version": 2, "previous": 1, "verdict": "promote"}
    return {
        "month": month,
        "as_of": "2024-07-01T06:00:00Z",
        "verdicts": [["2024-07-01T06:00:00Z", "retrain", "insufficient_evidence", month == 0]],
        "refusals": [],
        "decided": 300,
        "version": 1,
        "reviewed": 81,
        "routed": 200,
        "labels": 100,
        "true": figures,
        "ceiling": {"auc": 0.9, "brier": 0.12, "calibration": 0.0},
        "seen": {"labels": 50, "auc": 0.6, "brier": 0.25, "calibration": 0.1} if month else {"labels": 0},
        "advanced": 0.5,
        "first_ranked": 0.5 + 0.01 * (case.policy == "loop"),
        "tried": [] if case.policy != "loop" else [TRIED],
        "selections": {"gender": {"female": [20, 100], "male": [40, 160], "diverse": [0, 2]}},
        "changes": [worse | {"before": {"brier": 0.20}, "after": {"brier": 0.21}}]
        if case.policy == "naive" and month == 3
        else [],
        "hired": 30,
        "quality": 0.6,
        "hired_true": figures,
        "hired_ceiling": {"auc": 0.8, "brier": 0.15, "calibration": 0.0},
        "seconds": {"build": 2.0, "gate": 1.0},
    }


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(command, "loop", lambda: Loop(settings))
    return settings


@pytest.fixture
def on_file(settings):
    """Nine replays on file, as a call before would have left them."""
    folder = pool.folder_of(settings, SETTING)
    for case in CASES:
        put(folder, case)
    return folder


def put(folder: Path, case: Case) -> None:
    """A finished replay on file."""
    (folder / case.name).mkdir(parents=True)
    lines = [json.dumps(row(month, case)) for month in range(MONTHS)]
    (folder / case.name / runs.RESULTS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_what_is_on_file_is_told_and_nothing_is_run_again(settings, on_file):
    found = CliRunner().invoke(app, OPTIONS)
    assert found.exit_code == 0, found.output
    page = (settings.home / "reports" / "replay.html").read_text(encoding="utf-8")
    assert "9 of 9 replays" in page
    assert (
        "Against static: better in error by 0.0200 ± 0.0000, error on those hired by 0.0200 ± 0.0000; these"
        " seeds cannot tell in AUC" in page
    )
    assert "<td>better: +0.0200 ± 0.0000</td>" in page
    assert "<td>cannot tell: +0.0 ± 0.0 points</td>" in page, "shares differ by points"
    assert "0.80" in page, "the lowest impact ratio, of 20 and 25 %"
    assert "What this does not show" in page
    assert "hrloop replay recruitment --policies static,naive,loop --scenarios steady --seeds 3" in page
    assert "http://" not in page.split("<body>")[0]
    assert "The last 6 months against the first 2 of the same policy" in page, "those before the change"
    ends = pd.read_csv(settings.home / "reports" / "replay.csv")
    assert set(ends["code"]) == {pool.code_of(settings)}
    assert pool.code_of(settings) != on_file.name, "a folder is of one setting, too"
    assert ends[["seen_auc", "seen_brier", "true_brier"]].notna().all(axis=None)
    assert {Setting(*row) for row in ends[list(SETTING.__dict__)].itertuples(index=False)} == {SETTING}
    finished = ends[["scenario", "seed", "policy"]].itertuples(index=False)
    assert {Case(*row) for row in finished} == set(CASES)
    assert report.paired(ends, "loop", "static", "error").value == pytest.approx(0.02, abs=1e-5)
    assert not (settings.home / "replay" / "installation").exists(), "no Postgres was started"


def test_the_loop_is_compared_with_the_loop_without_a_part(settings, on_file):
    for seed in (1, 2, 3):
        put(on_file, Case("steady", seed, "no-reviews"))
    found = CliRunner().invoke(app, [*OPTIONS, "--policies", "loop,no-reviews"])
    assert found.exit_code == 0, found.output
    page = (settings.home / "reports" / "replay.html").read_text(encoding="utf-8")
    assert "<td>steady</td><td>no-reviews</td><td>better: +0.0200 ± 0.0000</td>" in page


def test_the_ends_of_replays(on_file):
    kept = {case: runs.results(on_file / case.name) for case in CASES}
    kept[CASES[0]] = kept[CASES[0]][:-1]
    months, ends = report.tables(kept, SETTING, minimum=30)
    assert len(months) == len(CASES) * MONTHS - 1
    assert len(ends) == len(CASES) - 1, "one that is not finished has no end"
    naive = ends[ends["policy"] == "naive"]
    assert (naive["promotions"] == 1).all()
    assert (naive["false_promotions"] == 1).all()
    assert ends["ratio_gender"].tolist() == pytest.approx([0.8] * len(ends))
    gain = report.paired(ends, "loop", "naive", "error")
    assert (gain.value, gain.n) == (pytest.approx(0.02), 3)
    assert report.paired(ends, "loop", "static", "error").n == 2, "by the seeds that both have"
    assert report.paired(ends, "loop", "no-gate", "true_auc").n == 0


@pytest.mark.parametrize(
    ("months", "change", "first"), [(18, 3, 3), (36, 12, 6), (18, 0, 0), (8, 7, 2), (6, 3, 0)]
)
def test_the_first_months_end_where_the_change_or_the_last_ones_begin(months, change, first):
    setting = Setting(**SETTING.__dict__ | {"months": months, "change": change})
    assert report.first_months(setting) == first


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["replay", "attrition"], "attrition decides on employee_month_id; the truth that a replay measures"),
        (["replay", "recruitmnt"], "recruitmnt"),
        (
            [*OPTIONS, "--milestone", "5"],
            "recruitment has no milestone at 5 months; give one of 3, 6",
        ),
        ([*OPTIONS, "--scenarios", "drift", "--change", "8"], "drift would begin in month 8 of 8; give"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_anything_is(settings, options, says):
    found = CliRunner().invoke(app, options)
    assert found.exit_code != 0
    assert says in str(found.exception)
    assert not (settings.home / "replay").exists()


def test_a_policy_that_is_named_twice_is_replayed_once(settings, on_file):
    found = CliRunner().invoke(app, [*OPTIONS, "--policies", "loop,static,loop"])
    assert found.exit_code == 0, found.output
    assert "6 of 6 replays" in (settings.home / "reports" / "replay.html").read_text(encoding="utf-8")


def test_what_failed_makes_the_command_fail_after_the_page_is_written(settings, on_file, monkeypatch):
    (on_file / CASES[-1].name / runs.RESULTS).unlink()
    monkeypatch.setattr(pool, "replay_all", lambda *_: {CASES[-1].name: "Traceback: the disk is full"})
    found = CliRunner().invoke(app, OPTIONS)
    assert found.exit_code != 0
    assert "the disk is full" in found.output
    assert str(found.exception).startswith("steady-3-loop: failed; the logs are in")
    assert "1 are not finished" in (settings.home / "reports" / "replay.html").read_text(encoding="utf-8")


def test_without_anything_on_file_there_is_no_page(settings):
    with pytest.raises(FileNotFoundError, match="run `make it`"):
        report.write(settings, SETTING, CASES, "make it")


def test_what_figures_follow_from_names_their_folder(settings, tmp_path):
    def project(**files: str) -> Settings:
        for name in ("models/a.yaml", "plugins/hrloop/x.py", "plugins/hrloop/replay/report.py"):
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files.get(path.stem, ""), encoding="utf-8")
        return settings.model_copy(update={"project": tmp_path / "project"})

    before = pool.folder_of(project(), SETTING)
    assert pool.folder_of(project(report="another page"), SETTING) == before
    assert pool.folder_of(project(a="another threshold"), SETTING) != before
    assert pool.folder_of(project(x="other code"), SETTING) != before
    assert pool.folder_of(project(), Setting(**{**SETTING.__dict__, "months": 9})) != before


def test_two_calls_at_once_are_one_too_many(settings):
    (settings.home / "replay").mkdir(parents=True)
    with pool._alone(settings), pytest.raises(pool.Busy, match="another replay runs"), pool._alone(settings):
        pass


def test_replays_of_a_call_that_was_killed_are_waited_for(settings):
    begun, ended = multiprocessing.Event(), multiprocessing.Event()
    log = settings.home / "replay" / "digest" / "logs" / "a.log"
    work = multiprocessing.Process(target=pool._logged, args=(log, _wait, (begun, ended)))
    work.start()
    assert begun.wait(30)
    with pytest.raises(pool.Busy, match="another replay runs"):
        pool.replay_all(settings, SETTING, CASES, 1, lambda *_: None)
    ended.set()
    work.join(30)
    assert work.exitcode == 0
    with pool._alone(settings):
        pass


def _wait(begun, ended) -> None:
    begun.set()
    ended.wait(30)


def test_the_page_says_what_held_the_loop_back_as_it_was_measured(on_file):
    def why(naive: float) -> str:
        kept = {case: runs.results(on_file / case.name) for case in CASES}
        for case, rows in kept.items():
            for one in rows:
                one["true"] |= {"brier": one["ceiling"]["brier"] + (naive if case.policy == "naive" else 0.1)}
        months, ends = report.tables(kept, SETTING, minimum=30)
        return report._why(months, ends, kept)

    said = why(naive=0.08)
    assert "Not measurably better: error (than static), AUC (than static)" in said
    assert "24 times a new version of retraining, reweighting or the quarterly search was compared" in said
    assert "in 3 replays, and 0 times it was promoted" in said
    assert "a comparison had 90 labels that neither version had learnt from; it saw a gain of +0.0010" in said
    assert "could tell one of 0.0320 from chance" in said
    assert "ended with an error 0.0200 ± 0.0000 lower than the loop" in said
    assert "below what that many labels can tell from chance" in said
    assert "In 3 of 24 runs of the rhythms that try versions the drift alarm stood" in said
    assert "cost 1.0 percentage points of the quality of those recommended" in said
    assert "the comparisons saw one of +0.0010" in why(naive=0.05)
    assert "ended with an error 0.0200 ± 0.0000 higher than the loop" in why(naive=0.12)
    assert "cannot be told from the loop by its error (cannot tell: +0.0000 ± 0.0000)" in why(naive=0.1)
    assert "times the calibrator was changed" not in said
