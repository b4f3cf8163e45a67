"""The declaration of a use case: what is decided, from which features, and what counts as a good outcome.

A use case is a folder in ``models/`` with a ``use_case.yaml``; the engine knows nothing else about it.
Every threshold is declared as a value with its reason. A bad declaration is refused with the file, the
key and what to do about it.
"""

import difflib
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

FILE_NAME = "use_case.yaml"

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="Lower case, digits and _.")]
Relation = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", description="schema.table")]
Words = Annotated[str, Field(min_length=3)]


class UseCaseError(ValueError):
    """A declaration that cannot be used. The message names the file and, line by line, key and remedy."""

    def __init__(self, file: Path, problems: list[str]):
        self.file, self.problems = file, problems
        super().__init__("\n".join([f"{file}: this use case cannot be used", *(f"  {p}" for p in problems)]))


class Part(BaseModel):
    """A part of a declaration: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        unknown = [str(key) for key in data if key not in cls.model_fields]
        if unknown:
            raise PydanticCustomError(
                "unknown_keys",
                "unknown key {keys}",
                {"keys": "; ".join(f"'{key}': {_suggest(key, cls.model_fields)}" for key in unknown)},
            )
        return data


class Threshold(Part):
    """A number and where it comes from. A number without a reason is refused."""

    value: float = Field(allow_inf_nan=False)
    reason: str = Field(min_length=10, description="Where the number comes from, in words.")

    @model_validator(mode="before")
    @classmethod
    def _has_a_reason(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            raise PydanticCustomError(
                "no_reason",
                "a threshold needs its reason: write {{value: {number}, reason: where it comes from}}",
                {"number": data},
            )
        return data


class Share(Threshold):
    """A threshold between 0 and 1."""

    value: float = Field(ge=0, le=1)


class Amount(Threshold):
    """A threshold that is zero or more."""

    value: float = Field(ge=0, allow_inf_nan=False)


class Count(Threshold):
    """A threshold that is a whole number, one or more."""

    value: int = Field(ge=1)


class Actions(Part):
    """What a recommendation says: the action for those ranked first, and the one for the others."""

    positive: Identifier
    negative: Identifier

    @model_validator(mode="after")
    def _differ(self) -> "Actions":
        if self.positive == self.negative:
            raise PydanticCustomError(
                "same_action", "positive and negative are the same action; name two different ones"
            )
        return self


class Period(Part):
    """The rhythm in which a subject comes back, as employees do month by month: a case is of one period."""

    key: Identifier = Field(description="Column of the feature table that names the period of a case.")
    weeks: Amount = Field(description="How many weeks a period is.")


class Decision(Part):
    """The grain of a decision, and how many of a group get the positive action: a share, or so many a week.

    ``period`` is there where a subject comes back. Its cases compete within their period, and what is learnt
    from one is known before the other is decided.
    """

    feature_table: Relation
    case_key: Identifier
    subject_key: Identifier
    group_key: Identifier
    period: Period | None = None
    actions: Actions
    advance_share: Share | None = None
    advance_a_week: Amount | None = None

    @model_validator(mode="after")
    def _one_quota(self) -> "Decision":
        if (self.advance_share is None) == (self.advance_a_week is None):
            raise PydanticCustomError(
                "quota", "give either advance_share or advance_a_week: how many get the positive action"
            )
        if self.advance_a_week is not None and self.period is None:
            raise PydanticCustomError(
                "quota_period", "advance_a_week needs period.weeks, the weeks that one round stands for"
            )
        return self


class Feature(Part):
    """A column of the feature table that the model may use.

    ``monotone``: ``increasing`` or ``decreasing`` holds the declared learner to that direction; the quarterly
    search tries trees with and without.
    """

    name: Identifier
    type: Literal["number", "category", "boolean"]
    description: Words
    monotone: Literal["increasing", "decreasing"] | None = None

    @model_validator(mode="after")
    def _ordered_if_monotone(self) -> "Feature":
        if self.monotone and self.type == "category":
            raise PydanticCustomError(
                "monotone_category",
                "a category has no order, so '{name}' cannot be monotone; remove monotone",
                {"name": self.name},
            )
        return self


class Bands(Part):
    """Numbers in ranges, so that an attribute such as a year of birth makes groups."""

    edges: tuple[float, ...] = Field(min_length=1, description="Each is the first value of a new range.")
    reason: Words

    @model_validator(mode="after")
    def _ascending(self) -> "Bands":
        if list(self.edges) != sorted(set(self.edges)):
            raise PydanticCustomError("edges", "edges must ascend, each once; sort them")
        return self


class Protected(Part):
    """Attributes that are never features, and the one view, for the role ``fairness``, that shows them.

    ``of``: whether the view's key names the case or its subject.
    """

    view: Relation
    key: Identifier
    of: Literal["case", "subject"] = "case"
    attributes: tuple[Identifier, ...] = Field(min_length=1)
    bands: dict[Identifier, Bands] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _bands_of_attributes(self) -> "Protected":
        unknown = sorted(set(self.bands) - set(self.attributes))
        if unknown:
            raise PydanticCustomError(
                "bands", "{names}: no such attribute; name attributes", {"names": ", ".join(unknown)}
            )
        return self


class Outcome(Part):
    """What becomes of a positive decision: milestones in months, and the one whose label is learnt."""

    name: Identifier
    description: Words
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    label_milestone: int
    parameters: dict[Identifier, Threshold] = Field(
        default_factory=dict, description="Passed to dbt, which reads them by use case and name."
    )

    @model_validator(mode="after")
    def _milestones_in_order(self) -> "Outcome":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise PydanticCustomError(
                "milestone_order", "milestones must be in ascending order, each once; sort them"
            )
        if self.label_milestone not in self.milestones:
            raise PydanticCustomError(
                "label_milestone",
                "label_milestone {label} is not one of the milestones {known}; use one of these or add it",
                {"label": self.label_milestone, "known": str(list(self.milestones))},
            )
        return self


class TreeParameters(Part):
    """XGBoost's parameters that a use case may set, under XGBoost's names.

    What the engine itself answers for (objective, seed, threads, tree method, constraints) is not here.
    """

    eta: float = Field(gt=0, le=1)
    max_depth: int = Field(ge=1, le=16)
    min_child_weight: float = Field(ge=0)
    reg_lambda: float = Field(1.0, ge=0)
    reg_alpha: float = Field(0.0, ge=0)
    gamma: float = Field(0.0, ge=0)
    subsample: float = Field(1.0, gt=0, le=1)
    colsample_bytree: float = Field(1.0, gt=0, le=1)
    max_bin: int = Field(256, ge=2)
    max_cat_to_onehot: int = Field(4, ge=1)


class Learner(Part):
    """How the model is trained: parameters, the forward folds that choose the rounds, the seed.

    ``xgboost`` learns whether the outcome happened by the label milestone, ``survival`` how long it took,
    also from those who were followed for a part of the time only.
    """

    kind: Literal["xgboost", "survival"]
    parameters: TreeParameters
    time_scale: Amount | None = Field(
        None, description="Spread of the logarithm of the time, beside what the features tell (survival)."
    )
    rounds: int = Field(ge=1, description="At most so many trees; the folds choose how many.")
    early_stopping_rounds: int = Field(ge=1)
    folds: int = Field(ge=1, le=20, description="Forward in time: fold k learns from what came before it.")
    seed: int = Field(ge=0, lt=2**31)
    minimum_labels: Count = Field(description="Fewer observed labels are not learnt from at all.")
    calibration_share: Share = Field(description="Share of labels, after the learner's, for calibration.")
    evaluation_share: Share = Field(description="Share of labels, the newest, for evaluation alone.")
    calibration_labels: Count | None = Field(None, description="At most so many labels are calibrated on.")
    evaluation_labels: Count | None = Field(None, description="At most so many labels are evaluated on.")
    half_life_months: Amount | None = Field(
        None,
        description="A label that is this much older counts half in learning; without it all count alike.",
    )
    negatives_kept: Share | None = Field(
        None, description="Where outcomes are rare: so many of those without one are used, weighted up."
    )

    def calibrating(self, labels: int) -> int:
        """How many of these labels are calibrated on."""
        return _part_of(labels, self.calibration_share, self.calibration_labels)

    def evaluating(self, labels: int) -> int:
        """How many of these labels are evaluated on."""
        return _part_of(labels, self.evaluation_share, self.evaluation_labels)

    @model_validator(mode="after")
    def _scale_of_time(self) -> "Learner":
        if (self.kind == "survival") != (self.time_scale is not None):
            raise PydanticCustomError(
                "time_scale", "time_scale belongs to kind survival, and to no other; add or remove it"
            )
        if self.time_scale is not None and self.time_scale.value == 0:
            raise PydanticCustomError("time_scale_zero", "time_scale must be above 0")
        if self.half_life_months is not None and self.half_life_months.value == 0:
            raise PydanticCustomError(
                "half_life", "half_life_months must be above 0; leave it out to weigh all labels alike"
            )
        if self.negatives_kept is not None and self.negatives_kept.value == 0:
            raise PydanticCustomError("negatives", "negatives_kept must be above 0; leave it out to use all")
        return self

    @model_validator(mode="after")
    def _something_left_to_learn_from(self) -> "Learner":
        held_out = self.calibration_share.value + self.evaluation_share.value
        if held_out > 0.8 or self.evaluation_share.value == 0 or self.calibration_share.value == 0:
            raise PydanticCustomError(
                "shares",
                "calibration_share and evaluation_share must each be above 0 and together at most 0.8 "
                "(they are {held_out}): the rest is what the model learns from",
                {"held_out": f"{held_out:g}"},
            )
        return self


def _part_of(labels: int, share: Share, most: Count | None) -> int:
    return min(round(share.value * labels), most.value if most else labels)


class Selection(Part):
    """How labels, which exist only after one of the two actions, are weighed.

    ``outcome_of``: the action after which the outcome is seen. Who was declined is never seen at work; who
    was warned of, and helped, is never seen as they would have gone on.
    """

    outcome_of: Literal["positive", "negative"] = "positive"
    propensity_floor: Share
    regularisation: Amount = Field(description="Inverse strength (C) of the propensity model's L2 penalty.")
    folds: int = Field(ge=2, le=20, description="The propensity of a group comes from the other folds.")

    @model_validator(mode="after")
    def _positive(self) -> "Selection":
        if self.propensity_floor.value == 0:
            raise PydanticCustomError(
                "floor", "propensity_floor must be above 0: without a floor one row can outweigh all others"
            )
        if self.regularisation.value == 0:
            raise PydanticCustomError("regularisation", "regularisation must be above 0")
        return self


class Recalibration(Part):
    """When the daily rhythm may change the map from score to probability."""

    window_days: Count = Field(
        description="The rolling window: labels that became known within so many days."
    )
    half_life_days: Count = Field(description="With decay, a label so old counts half.")
    minimum_labels: Count = Field(description="Newest labels to judge by; with fewer, nothing changes.")
    significance: Share = Field(description="One-sided error of a change that is no better.")


class Calibration(Part):
    """How a score becomes a probability."""

    method: Literal["platt"]
    prior_strength: Amount = Field(
        description="Information the prior at the identity holds; a label near 0.5 holds 0.25."
    )
    daily: Recalibration


class Routing(Part):
    """Which decisions a person looks at, and which share of them is randomised to learn from."""

    confidence_below: Share
    audit_share: Share
    exploration_share: Share
    exploration_band: Share


class Edge(Part):
    """When a case lies outside of what the model has seen."""

    range_tail: Share = Field(description="Share of the training values beyond each end of the range.")


class Leaks(Part):
    """When a feature looks as if it were known only after the decision."""

    missing_gap: Share
    separation_auc: Share
    snapshot_mismatch: Share
    minimum_cases: Count


class Drift(Part):
    """When the cases of today are no longer those that a version was evaluated on."""

    shifted_share: Share = Field(description="More than this share of the features have shifted: an alarm.")
    broken: Amount = Field(description="A PSI above it is an alarm in a single feature already.")
    minimum_cases: Count = Field(description="With fewer cases on either side nothing is said.")


class Search(Part):
    """The quarterly search over architectures."""

    trials: Count


class Reweighting(Part):
    """How strongly the monthly rhythm may prefer one feature to another."""

    strongest: Amount = Field(description="A feature's weight lies between 1 / strongest and strongest.")
    minimum_overrides: Count = Field(description="Overrules with a reason code before the code counts.")
    significance: Share = Field(description="Error of hearing any code, or any context, that is chance.")
    drawn: Share = Field(description="Share of the columns that trees draw, by their weights, at each split.")

    @model_validator(mode="after")
    def _at_least_one(self) -> "Reweighting":
        if self.strongest.value < 1:
            raise PydanticCustomError("strongest", "strongest must be at least 1; 1 leaves all weights equal")
        return self

    @model_validator(mode="after")
    def _some_are_drawn_and_some_are_not(self) -> "Reweighting":
        if self.drawn.value in (0, 1):
            raise PydanticCustomError(
                "drawn", "drawn must be above 0 and below 1: where all columns are drawn, weights do nothing"
            )
        return self


class ErrorBudget(Part):
    """How many promotions by luck are accepted in a year, by rhythm; its runs share its part.

    Weekly and monthly runs by the labels that are new to each, quarterly ones evenly.
    """

    weekly: Amount
    monthly: Amount
    quarterly: Amount


class Volume(Part):
    """The labels that a use case needs, and what is pooled below."""

    labels_a_month: Count
    segment: Identifier = Field(description="The category whose segments are pooled below the floor.")


class Experiment(Part):
    """The live comparison of a challenger with the champion."""

    share: Share = Field(description="Share of the groups (requisitions, teams) that the challenger decides.")
    looks: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1,
        description="Days after the first round that was drawn at which a verdict may fall; the last one ends"
        " the experiment.",
    )
    looks_reason: Words
    sample_ratio: Share = Field(
        description="A p-value below it says that the arms were not drawn as declared."
    )
    harm_significance: Share
    overrule_margin: Share = Field(description="So much more often may people overrule the challenger.")

    @model_validator(mode="after")
    def _looks_in_order(self) -> "Experiment":
        if list(self.looks) != sorted(set(self.looks)):
            raise PydanticCustomError("looks", "looks must be days in ascending order, each once; sort them")
        return self


class Watch(Part):
    """What rolls a release back by itself."""

    days: Count
    significance: Share = Field(description="Error of a needless roll-back over the whole watch.")
    overrule_margin: Share = Field(description="So much more often may people overrule than before.")
    review_margin: Share = Field(description="So much larger may the share be that a person must look at.")


class Promotion(Part):
    """What a version must show before it may decide."""

    metric: Literal["brier", "log_loss"]
    minimum_improvement: Amount
    minimum_labels: Count
    minimum_evaluation_labels: Count
    confidence_level: Share
    resamples: Count
    false_promotions_a_year: ErrorBudget
    group_margin: Amount = Field(description="So much may the loss of a protected group worsen, not more.")
    approval_days: Count = Field(description="A request that nobody answered so long has timed out.")


class Fairness(Part):
    """When selection rates that differ between groups are a finding."""

    impact_ratio: Share
    significance: Share
    minimum_group: Count


class About(Part):
    """What a reason code says: that these features count for more, or for less, than the model gave them."""

    features: tuple[Identifier, ...] = Field(min_length=1)
    counts: Literal["more", "less"]


class Reviews(Part):
    """Why a person may overrule a recommendation: code and meaning."""

    reason_codes: dict[Identifier, Words] = Field(min_length=1)
    about: dict[Identifier, About] = Field(
        default_factory=dict, description="Reason code → what it says of features."
    )

    @model_validator(mode="after")
    def _known_codes(self) -> "Reviews":
        unknown = sorted(set(self.about) - set(self.reason_codes))
        if unknown:
            raise PydanticCustomError(
                "about",
                "{codes}: no such reason code; declare it in reason_codes",
                {"codes": ", ".join(unknown)},
            )
        return self


class UseCase(Part):
    """A whole declaration. ``load`` reads one."""

    name: Identifier
    title: Words
    description: Words
    owner: Words
    decision: Decision
    features: tuple[Feature, ...] = Field(min_length=1)
    protected: Protected
    outcome: Outcome
    learner: Learner
    selection: Selection
    calibration: Calibration
    routing: Routing
    edge: Edge
    leaks: Leaks
    drift: Drift
    search: Search
    reweighting: Reweighting
    promotion: Promotion
    volume: Volume
    experiment: Experiment
    watch: Watch
    fairness: Fairness
    reviews: Reviews

    @field_validator("features")
    @classmethod
    def _each_feature_once(cls, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        twice = [name for name, times in Counter(f.name for f in features).items() if times > 1]
        if twice:
            raise PydanticCustomError(
                "feature_twice", "declared more than once: {names}; keep one", {"names": ", ".join(twice)}
            )
        return features

    @model_validator(mode="after")
    def _features_are_allowed(self) -> "UseCase":
        keys = {self.decision.case_key, self.decision.subject_key, self.decision.group_key}
        if self.decision.period:
            keys.add(self.decision.period.key)
        for index, feature in enumerate(self.features):
            if feature.name in self.protected.attributes:
                raise PydanticCustomError(
                    "protected_feature",
                    "'{name}' is a protected attribute and can never be a feature; remove it from features",
                    {"name": feature.name, "at": f"features.{index}.name"},
                )
            if feature.name in keys:
                raise PydanticCustomError(
                    "key_feature",
                    "'{name}' is a key of the decision: a model would learn cases by heart; remove it",
                    {"name": feature.name, "at": f"features.{index}.name"},
                )
        return self

    @model_validator(mode="after")
    def _names_of_features(self) -> "UseCase":
        categories = {feature.name for feature in self.features if feature.type == "category"}
        if self.volume.segment not in categories:
            raise PydanticCustomError(
                "segment",
                "'{name}' is no category among the features; segments are one of {known}",
                {"name": self.volume.segment, "known": ", ".join(sorted(categories)), "at": "volume.segment"},
            )
        for code, about in self.reviews.about.items():
            unknown = sorted(set(about.features) - {feature.name for feature in self.features})
            if unknown:
                raise PydanticCustomError(
                    "about_features",
                    "{names}: no such feature; name declared features",
                    {"names": ", ".join(unknown), "at": f"reviews.about.{code}.features"},
                )
        return self

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the order declared."""
        return [feature.name for feature in self.features]

    def parameter(self, name: str) -> float:
        """The value of an outcome parameter. Raises KeyError naming the known ones."""
        if name not in self.outcome.parameters:
            raise KeyError(
                f"use case {self.name} declares no outcome parameter {name!r}; "
                f"it has {sorted(self.outcome.parameters)}"
            )
        return self.outcome.parameters[name].value


def load(name_or_path: str | Path, root: Path) -> UseCase:
    """Read the declaration of this name below ``root/models``, or the one at this path.

    Raises UseCaseError, which names the file, each offending key and its remedy.
    """
    path = _locate(name_or_path, root)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UseCaseError(path, [f"not readable as YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(data, dict):
        raise UseCaseError(path, ["the file must be a mapping of keys to values, beginning with name:"])
    try:
        use_case = UseCase.model_validate(data)
    except ValidationError as error:
        raise UseCaseError(path, [_problem(e) for e in error.errors(include_url=False)]) from error
    if use_case.name != path.parent.name:
        raise UseCaseError(
            path,
            [f"name: '{use_case.name}' differs from its folder '{path.parent.name}'; rename one of the two"],
        )
    return use_case


def load_all(root: Path) -> dict[str, UseCase]:
    """Every use case below ``root/models`` by name, in the order of the names.

    Raises UseCaseError when one is bad, or when there is none.
    """
    found = sorted((root / "models").glob(f"*/{FILE_NAME}"))
    if not found:
        raise UseCaseError(root / "models", [f"no use case here; add models/<name>/{FILE_NAME}"])
    return {path.parent.name: load(path, root) for path in found}


def _locate(name_or_path: str | Path, root: Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.is_absolute():
        path = path / FILE_NAME if path.is_dir() else path
    else:
        path = root / "models" / path / FILE_NAME
    if not path.is_file():
        known = [found.parent.name for found in (root / "models").glob(f"*/{FILE_NAME}")]
        raise UseCaseError(path, [f"no such file; {_suggest(str(name_or_path), known)}"])
    return path.resolve()


def _suggest(word: str, known: Any) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(names) or 'none'}"


def _problem(error: dict[str, Any]) -> str:
    """One line for one of pydantic's errors: dotted key, what is wrong, remedy."""
    key = error.get("ctx", {}).get("at") or ".".join(str(part) for part in error["loc"]) or "(top level)"
    remedies = {
        "missing": "is missing; add it",
        "string_too_short": "is too short; say it in words",
        "string_pattern_mismatch": f"is {error['input']!r}, which does not match "
        f"{error.get('ctx', {}).get('pattern')}",
    }
    message = remedies.get(error["type"])
    if message is None:
        shown = error["input"] if isinstance(error["input"], str | int | float | bool) else None
        message = error["msg"] + (f" (it is {shown!r})" if shown is not None else "")
    return f"{key}: {message}"


class _StrictLoader(yaml.CSafeLoader):
    """YAML that refuses a key given twice, where PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice; keep one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
