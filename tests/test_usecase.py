"""The declaration of a use case: what is accepted, and how a mistake is named."""

import copy
from pathlib import Path

import pytest
import yaml
from hrloop import usecase
from hrloop.settings import PROJECT

RECRUITMENT = yaml.safe_load((PROJECT / "models/recruitment/use_case.yaml").read_text(encoding="utf-8"))


def put(data: dict, dotted: str, value) -> None:
    *parents, last = dotted.split(".")
    for key in parents:
        data = data[int(key)] if isinstance(data, list) else data[key]
    data[int(last) if isinstance(data, list) else last] = value


def write(root: Path, data: dict, name: str = "recruitment") -> Path:
    folder = root / "models" / name
    folder.mkdir(parents=True)
    path = folder / "use_case.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_every_declaration_of_the_repository_loads():
    found = usecase.load_all(PROJECT)
    assert "recruitment" in found
    for name, use_case in found.items():
        assert use_case.name == name
        assert (PROJECT / "models" / name / "MODEL_CARD.md").is_file()


def test_a_direction_is_declared_for_the_search_to_try_monotone_trees():
    declared = usecase.load_all(PROJECT).values()
    held = {(one.name, feature.name) for one in declared for feature in one.features if feature.monotone}
    assert held == {("attrition", "engagement")}


def test_a_declaration_loads_by_name_by_path_and_by_folder():
    by_name = usecase.load("recruitment", PROJECT)
    assert usecase.load(PROJECT / "models/recruitment/use_case.yaml", Path("/nowhere")) == by_name
    assert usecase.load(PROJECT / "models/recruitment", Path("/nowhere")) == by_name
    assert by_name.feature_names[0] == "years_experience"
    assert by_name.parameter("good_hire_rating") == 3.5


def test_an_unknown_parameter_is_named():
    with pytest.raises(KeyError, match="report_grace_days"):
        usecase.load("recruitment", PROJECT).parameter("grace")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("features.0.name", "gender", ["features.0.name", "protected attribute", "remove it"]),
        ("features.1.name", "years_experience", ["features", "more than once: years_experience"]),
        ("features.1.name", "candidate_key", ["features.1.name", "key of the decision"]),
        ("features.2.type", "text", ["features.2.type", "'category'", "'text'"]),
        ("features.1.monotone", "increasing", ["features.1", "has no order", "remove monotone"]),
        ("decision.advance_a_week", {"value": 1, "reason": "one talk a week"}, ["decision", "either"]),
        ("decision.advance_share", None, ["decision", "either"]),
        ("learner.kind", "survival", ["learner", "time_scale belongs"]),
        ("learner.time_scale", {"value": 0.6, "reason": "of the folds"}, ["learner", "time_scale belongs"]),
        ("learner.negatives_kept", {"value": 0, "reason": "none at all"}, ["negatives_kept", "above 0"]),
        ("selection.outcome_of", "both", ["selection.outcome_of", "'positive'", "'negative'"]),
        ("features.0.name", "Years", ["features.0.name", "does not match"]),
        ("routing.audit_share", 0.1, ["routing.audit_share", "needs its reason", "value: 0.1"]),
        ("routing.audit_share", {"value": 0.1}, ["routing.audit_share.reason", "missing; add it"]),
        ("routing.audit_share.reason", "x", ["routing.audit_share.reason", "too short"]),
        ("routing.audit_share.value", 1.5, ["routing.audit_share.value", "less than or equal to 1"]),
        ("routing.audit_share.value", float("nan"), ["routing.audit_share.value"]),
        ("routing.audit_shares", 1, ["routing", "'audit_shares'", "did you mean 'audit_share'?"]),
        ("routng", {}, ["top level", "'routng'", "did you mean 'routing'?"]),
        ("learner.parameters.nthread", 4, ["learner.parameters", "'nthread'"]),
        ("learner.evaluation_share.value", 0.9, ["learner", "together at most 0.8"]),
        ("outcome.label_milestone", 9, ["outcome", "label_milestone 9 is not one of the milestones"]),
        ("outcome.milestones", [6, 3, 12], ["outcome", "ascending order"]),
        ("decision.actions.negative", "advance", ["decision.actions", "name two different ones"]),
        ("decision.feature_table", "feat_application", ["decision.feature_table", "does not match"]),
        ("selection.propensity_floor.value", 0, ["selection", "must be above 0"]),
        ("promotion.minimum_labels.value", 0, ["promotion.minimum_labels.value", "greater than or equal"]),
        ("reweighting.strongest.value", 0.5, ["reweighting", "strongest must be at least 1"]),
        ("reweighting.drawn.value", 1, ["reweighting", "drawn must be above 0 and below 1"]),
        ("reviews.about.communication.counts", "lots", ["reviews.about.communication.counts", "'more'"]),
        ("reviews.about.communication.features", [], ["reviews.about.communication.features"]),
        ("reviews.about.other", ["skills"], ["reviews.about.other"]),
        (
            "reviews.about.communication.features",
            ["charm"],
            ["reviews.about.communication.features", "charm: no such feature"],
        ),
        (
            "reviews.about",
            {"charm": {"features": ["skills_count"], "counts": "more"}},
            ["reviews", "charm: no such reason code"],
        ),
        ("name", "hiring", ["name", "differs from its folder 'recruitment'"]),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_remedy(tmp_path, key, value, expected):
    data = copy.deepcopy(RECRUITMENT)
    put(data, key, value)
    path = write(tmp_path, data)
    with pytest.raises(usecase.UseCaseError) as caught:
        usecase.load("recruitment", tmp_path)
    assert str(path.resolve()) in str(caught.value)
    for words in expected:
        assert words in str(caught.value)


@pytest.mark.parametrize("key", sorted(RECRUITMENT))
def test_no_part_can_be_left_out(tmp_path, key):
    data = {name: value for name, value in RECRUITMENT.items() if name != key}
    write(tmp_path, data)
    with pytest.raises(usecase.UseCaseError, match=f"{key}: is missing; add it"):
        usecase.load("recruitment", tmp_path)


def test_all_mistakes_are_told_at_once(tmp_path):
    data = copy.deepcopy(RECRUITMENT)
    put(data, "routing.audit_share", 0.1)
    put(data, "learner.seed", -1)
    write(tmp_path, data)
    with pytest.raises(usecase.UseCaseError) as caught:
        usecase.load("recruitment", tmp_path)
    assert len(caught.value.problems) == 2


def test_a_key_given_twice_is_refused(tmp_path):
    path = write(tmp_path, RECRUITMENT)
    path.write_text(path.read_text(encoding="utf-8") + "\nowner: Somebody else\n", encoding="utf-8")
    with pytest.raises(usecase.UseCaseError, match="key 'owner' is given twice"):
        usecase.load("recruitment", tmp_path)


def test_a_missing_declaration_suggests_a_near_one():
    with pytest.raises(usecase.UseCaseError, match="did you mean 'recruitment'"):
        usecase.load("recruitmnt", PROJECT)


@pytest.mark.parametrize("text", ["", "- a list", "name: [unclosed"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = write(tmp_path, {})
    path.write_text(text, encoding="utf-8")
    with pytest.raises(usecase.UseCaseError, match=r"use_case\.yaml"):
        usecase.load("recruitment", tmp_path)


def test_a_repository_without_use_cases_is_refused(tmp_path):
    with pytest.raises(usecase.UseCaseError, match="no use case here"):
        usecase.load_all(tmp_path)
