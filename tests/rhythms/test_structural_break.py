"""A wave of layoffs: it raises the drift alarm, it censors, and nothing is promoted on what was before."""

from datetime import UTC, datetime

import pytest
from hrloop import features, learning, practice
from hrloop.rhythms import Loop, candidates, intake
from hrloop.rhythms.candidates import Alarm
from hrloop.sources import ensure_tables
from hrloop.usecase import UseCase

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
# The practice company lays people off in June 2027, its 45th month; for two months those who stay work more.
BEFORE = datetime(2027, 6, 1, 6, tzinfo=UTC)
AFTER = datetime(2027, 9, 1, 6, tzinfo=UTC)


@pytest.fixture
def loop(warehouse, settings) -> Loop:
    practice.history(settings, months=47, applications_per_month=600)
    ensure_tables(warehouse)
    loop = Loop(settings, warehouse)
    intake.ingest(loop, AFTER)
    intake.gate_all(loop, [AFTER])  # one batch of applications is incomplete on purpose
    intake.build(loop, AFTER)
    return loop


@pytest.fixture
def use_case(loop) -> UseCase:
    """The early warning, for a company of hundreds: a little evidence is enough."""
    data = loop.use_case("attrition").model_dump()
    for part, name, value in (
        ("learner", "minimum_labels", 200),
        ("promotion", "minimum_labels", 400),
        ("promotion", "minimum_evaluation_labels", 50),
        ("promotion", "confidence_level", 0.5),
    ):
        data[part][name]["value"] = value
    return UseCase.model_validate(data)


def test_a_wave_of_layoffs_raises_the_alarm_and_promotes_nothing(loop, use_case):
    found, censored = {}, {}
    for as_of in (BEFORE, AFTER):
        frame = features.training_frame(loop.warehouse, use_case, as_of)
        fitted = learning.fit(use_case, frame, as_of)
        alarm = candidates.drift(loop, use_case, frame, fitted.held_out["decided_at"], as_of)
        found[as_of] = alarm, candidates.first(use_case, frame, fitted, as_of, (), alarm)
        censored[as_of] = laid_off(loop)
    quiet, shown = found[BEFORE]
    assert isinstance(quiet, Alarm)
    assert not quiet.raised, str(quiet)
    assert shown.verdict == "promote", shown.reasons
    loud, stopped = found[AFTER]
    assert loud.raised, str(loud)
    assert "team_leavers_share_3_months" in {name for name, _ in loud.shifted}
    assert stopped.verdict != "promote"
    assert censored[AFTER] > 0


def laid_off(loop: Loop) -> int:
    """Employees' months whose outcome the layoffs hid: censored, and no resignation."""
    return loop.warehouse.read(
        "transformer",
        """
        select count(*) as n
        from intermediate.int_outcome_milestone_versions as outcomes
        inner join staging.stg_hris__terminations as ends
            on split_part(outcomes.case_key, ':', 1) = ends.employee_key and ends.known_to is null
        where outcomes.use_case = 'attrition' and outcomes.status = 'censored' and outcomes.known_to is null
            and ends.kind = 'layoff' and outcomes.value is null
        """,
    )["n"][0].as_py()
