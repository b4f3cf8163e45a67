"""Reports as a reader gets them: one file that loads nothing, with every value escaped."""

import re
from datetime import UTC, datetime, timedelta

import chromium
import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.release import experiments, ledger
from hrloop.release.ledger import Release
from hrloop.rhythms import Loop, Refused, recorded, reports
from hrloop.rhythms.experiments import STEP
from hrloop.settings import PROJECT
from hrloop.warehouse.tables import change_notes
from selenium.webdriver.common.by import By
from sqlalchemy import insert

AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)
NAME = "recruitment"


@pytest.fixture
def loop(settings, warehouse) -> Loop:
    with ledger.locked(warehouse, NAME) as connection:
        ledger.record(
            connection, Release("r1", NAME, AS_OF - timedelta(days=30), "first", 1, None, "promote")
        )
    return Loop(settings, warehouse)


def loads_nothing(page: str) -> bool:
    outside_of_scripts = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    return not re.search(r"(src|href)=", outside_of_scripts) and not re.search(r"<script[^>]+src=", page)


@pytest.fixture
def tried(loop):
    """An experiment that ended at its first look."""
    with recorded(loop, STEP, AS_OF, NAME) as summary:
        summary["trials"] = [
            {"family": "linear", "log_loss": 0.6123, "spread": 0.01, "parameters": {"C": 0.123456}}
        ]
        summary["notes"] = ["monotone trees were not tried: no feature is declared monotone"]
    begun = experiments.begin(loop.warehouse, loop.use_case(NAME), 2, AS_OF)
    figures = {
        "day": 14,
        "labels": 150,
        "improvement": {"value": 0.0123, "low": -0.002, "high": 0.03, "n": 150},
    }
    ended = AS_OF + timedelta(days=14)
    experiments.look(loop.warehouse, begun, ended, figures, "keep", ["it is <b>no</b> better"])


def test_an_experiment_with_its_looks_and_its_search(loop, tried):
    page = reports.experiment(loop, NAME).read_text(encoding="utf-8")
    assert loads_nothing(page)
    assert "version 2 tried against version 1" in page
    assert "it is &lt;b&gt;no&lt;/b&gt; better" in page
    for told in ("Keep.", "0.0123", "-0.0020", "0.6123", "C 0.123", "monotone trees were not tried"):
        assert told in page, told


@pytest.mark.slow
@chromium.needed
def test_an_experiment_as_a_browser_shows_it(loop, tried, tmp_path):
    page = reports.experiment(loop, NAME)
    with chromium.opened(tmp_path / "reader") as browser:
        browser.get(page.as_uri())
        assert browser.find_element(By.CSS_SELECTOR, ".errorbars path").is_displayed(), (
            "the interval is drawn"
        )
        shown = browser.find_element(By.TAG_NAME, "body").text
        assert browser.get_log("browser") == [], "no script fails, and nothing is missing"
        browser.save_screenshot(str(tmp_path / "experiment.png"))
    for told in ("Keep. it is <b>no</b> better", "day 14", "lower Brier score than the champion's", "0.6123"):
        assert told in shown, told


def test_no_experiment_no_report(loop):
    with pytest.raises(Refused, match="has had no experiment yet"):
        reports.experiment(loop, NAME)
    assert not (loop.settings.home / "reports").exists()


def test_the_week_tells_its_changes_in_both_languages_and_no_others(loop):
    row = Release("r2", NAME, AS_OF, "promote", 2, 1, "promote")
    with ledger.locked(loop.warehouse, NAME) as connection:
        ledger.record(connection, row)
        for release_id, words in (("r1", "Long ago."), ("r2", "Newly & rightly.")):
            for language in ("en", "sv"):
                note = {"release_id": release_id, "language": language, "words": f"{words} ({language})"}
                connection.execute(insert(change_notes).values(note))
    with recorded(loop, "weekly_retraining", AS_OF, NAME) as summary:
        summary.update(verdict="promote", reasons=["better by far"])
    page = reports.weekly(loop, AS_OF + timedelta(days=1)).read_text(encoding="utf-8")
    assert loads_nothing(page)
    assert "Newly &amp; rightly. (en)" in page
    assert "<p lang='sv'>Newly &amp; rightly. (sv)</p>" in page
    assert "Long ago" not in page
    assert "better by far" in page
    quiet = reports.weekly(loop, AS_OF + timedelta(days=30)).read_text(encoding="utf-8")
    assert "Nothing that decides has changed." in quiet


def cases(declaration, n: int, seed: int) -> pd.DataFrame:
    """Cases with values of each declared type, a few missing, and an attribute that nobody asked for."""
    r = np.random.default_rng(seed)
    values = {"number": r.normal(size=n), "boolean": r.integers(0, 2, n), "category": r.choice(["a", "b"], n)}
    frame = pd.DataFrame({feature.name: values[feature.type] for feature in declaration.features})
    return frame.mask(r.random(frame.shape) < 0.05).assign(gender="female")


def test_the_page_of_drift_shows_the_features_and_nobodys_gender():
    declaration = usecase.load(NAME, PROJECT)
    newest = cases(declaration, 150, seed=2).assign(education_field=None, assessment_score=np.nan)
    page = reports.drift_page(declaration, cases(declaration, 300, seed=1), newest)
    lost = {"education_field", "assessment_score"}  # the table has them
    # a name such as location stands in every page's scripts, too
    names = {name for name in (*declaration.feature_names, "gender") if "_" in name or name == "gender"}
    assert {name for name in names if f'"{name}' in page} == names - lost - {"gender"}
    assert loads_nothing(page)
