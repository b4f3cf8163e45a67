"""Policies: checkouts that differ by what a policy sets otherwise, and by nothing else."""

import pytest
from hrloop import usecase
from hrloop.quality.suites import load_suites
from hrloop.replay.policies import POLICIES, Policy, write_project
from hrloop.settings import PROJECT

NAME = "recruitment"


def flat(data, at=""):
    """Dotted key → value of nested mappings."""
    if not isinstance(data, dict):
        return {at: data}
    return {key: value for name, part in data.items() for key, value in flat(part, f"{at}.{name}").items()}


@pytest.mark.parametrize("name", POLICIES)
def test_a_declaration_differs_by_what_the_policy_says(name, tmp_path):
    policy = POLICIES[name]
    write_project(policy, NAME, {"outcome.label_milestone": 3}, PROJECT, tmp_path / "project")
    before = flat(usecase.load(NAME, PROJECT).model_dump())
    after = flat(usecase.load(NAME, tmp_path / "project").model_dump())
    changed = {
        key.removesuffix(".value").lstrip("."): after[key] for key in before if before[key] != after[key]
    }
    said = {"outcome.label_milestone": 3, **policy.declared}
    assert {key: value for key, value in changed.items() if not key.endswith(".reason")} == said


def test_without_a_gate_every_delivery_passes_and_with_it_suites_stay(tmp_path):
    for name in ("loop", "no-gate"):
        write_project(POLICIES[name], NAME, {}, PROJECT, tmp_path / name)
    assert load_suites(tmp_path / "loop") == load_suites(PROJECT)
    for suite in load_suites(tmp_path / "no-gate").values():
        assert suite.completeness is None or suite.completeness.minimum_percent == 0
        assert suite.freshness.maximum_age_days is None
        assert (*suite.rules, *suite.references, *suite.taxonomy, *suite.expectations) == ()


def test_a_policy_that_sets_what_is_not_declared_is_refused(tmp_path):
    policy = Policy("wrong", (), declared={"routing.explanation_share": 0.0})
    with pytest.raises(KeyError, match=r"no routing\.explanation_share"):
        write_project(policy, NAME, {}, PROJECT, tmp_path / "project")
    with pytest.raises(KeyError, match=r"no rooting\.exploration_share"):
        write_project(
            Policy("wrong", (), declared={"rooting.exploration_share": 0.0}), NAME, {}, PROJECT, tmp_path
        )
