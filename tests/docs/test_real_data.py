"""docs/real-data.md says what comes out; and the data go in as a company's exports would."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hrloop import as_of, sources, usecase
from hrloop.settings import PROJECT
from lifelines import KaplanMeierFitter
from sqlalchemy import text

from docs.figures import real_data

PAGE = PROJECT / "docs" / "real-data.md"
NOW = as_of.parse("2025-02-01T06:00:00Z")


@pytest.fixture(scope="module")
def found():
    """What each model shows, by study and model, of the studies whose verdicts the page speaks of."""
    thresholds = usecase.load("recruitment", PROJECT)
    year, _, alone, promotion, _ = real_data.studies()
    return [
        one
        for study in (year, alone, promotion)
        for one in real_data.shown(study, thresholds, real_data.SPLIT)
    ]


def page_rows() -> dict[tuple[str, str], list[str]]:
    lines = [
        line.strip("| ").split(" | ")
        for line in PAGE.read_text().splitlines()
        if " to 0." in line and line[0] == "|"
    ]
    return {(study, model): cells for study, model, *cells in lines}


def test_the_page_shows_what_comes_out(found):
    said = page_rows()
    for one in found:
        people, area, brier, gain, _, error, *_, verdict = said[one.study, one.model]
        assert int(people) == one.evidence.evaluation_labels
        for cell, figure in (
            (area, one.evidence.metrics["auc"]),
            (brier, one.evidence.metrics["brier"]),
            (gain, one.evidence.improvement["brier"]),
            (error, one.evidence.metrics["calibration_error_event_rate"]),
        ):
            if cell != "–":
                numbers = [
                    float(number) for number in cell.strip(")").replace("(", "").split() if number != "to"
                ]
                assert numbers == pytest.approx([figure.value, figure.low, figure.high], abs=0.003)
        assert verdict in (one.verdict.kind, "–")


def test_with_the_survey_it_beats_the_base_rate_and_not_cox(found):
    ours = [one for one in found if one.study == "leaving within 12 months" and one.than_cox is not None]
    assert {one.model for one in ours} == set(real_data.NAMES.values())
    for one in ours:
        assert one.verdict.kind == "promote"
        assert one.evidence.metrics["auc"].is_above(0.6)
        assert one.evidence.improvement["brier"].is_above(0)
        assert one.than_cox.low < 0 < one.than_cox.high


@pytest.mark.parametrize(
    "study", ["leaving within 12 months, field and level alone", "promotion within 6 years"]
)
def test_where_it_is_no_better_than_the_base_rate_it_says_so_and_refuses(found, study):
    ours = [one for one in found if one.study == study and one.model in real_data.NAMES.values()]
    assert ours
    for one in ours:
        assert one.verdict.kind == "insufficient_evidence"
        assert "so it may be chance" in one.verdict.reasons[-1]


def test_the_lost_count_neither_as_leaving_nor_as_staying(found):
    """Lifelines on the same people; and what the two wrong ways would have said."""
    people = pd.read_csv(real_data.DATA / "job_retention.csv")
    thresholds = usecase.load("recruitment", PROJECT)
    study = real_data.retention(12.0)
    order = np.random.default_rng(real_data.SPLIT).permutation(len(people))
    newest = people.iloc[order[real_data.cut(study, thresholds, real_data.SPLIT).evaluating]]
    theirs = 1 - KaplanMeierFitter().fit(newest["month"], newest["left"]).predict(12.0)
    assert found[0].came == pytest.approx(theirs, abs=1e-9)
    followed = newest[(newest["left"] == 1) | (newest["month"] == 12)]
    assert newest["left"].mean() < theirs - 0.02
    assert followed["left"].mean() > theirs


def test_neither_protected_attributes_nor_the_outcome_are_features():
    for study in real_data.studies()[:4]:
        assert not {"gender", "diverse", "left", "month", "promoted", "year"} & set(study.people)


def test_it_goes_in_as_a_company_s_exports(warehouse, settings, tmp_path):
    real_data.export(settings.landing)
    declaration = tmp_path / "sources.yaml"
    declaration.write_text(re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    report = sources.ingest(warehouse, settings.model_copy(update={"sources": declaration}), NOW)
    assert report.refused == []
    taken = {Path(batch.file_name).name: batch.rows_in for batch in report.taken}
    assert set(taken) == {"2025-01-15.csv"}
    with warehouse.engine("loader").connect() as connection:
        ended = connection.execute(
            text("select kind, count(*) from raw.hris__terminations group by kind order by kind")
        ).all()
        known = connection.execute(
            text("select max(_known_at) from raw.hris__terminations where terminated_on = '2024-03-15'")
        ).scalar_one()
        answers = connection.execute(
            text("select min(engagement), max(engagement) from raw.hris__surveys")
        ).one()
    assert [tuple(row) for row in ended] == [("end_of_contract", 388), ("voluntary", 1354)]
    assert as_of.text(known) == "2024-03-15T18:00:00Z"
    assert [float(answer) for answer in answers] == [1.0, 5.0]
