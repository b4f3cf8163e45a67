"""What is learnt with, apart from what it is learnt from: plain data, so that it can be kept and repeated."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from hrloop.learning.errors import LearningError

if TYPE_CHECKING:
    from hrloop.usecase import UseCase

Kind = Literal["xgboost", "linear", "survival"]


@dataclass(frozen=True)
class Architecture:
    """A kind of model, its parameters under the names of the library that learns it, and how strongly each
    feature may be used.

    ``feature_weights``: feature → weight above 0; one that is not named weighs 1. Trees draw columns in
    proportion to them; to a linear model they are the relative standard deviations of the coefficients'
    priors. ``monotone``: whether trees are held to the directions that the use case declares. Raises
    LearningError for a kind or a weight that is none.
    """

    kind: Kind
    parameters: Mapping[str, Any]
    feature_weights: Mapping[str, float] = field(default_factory=dict)
    monotone: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise LearningError(
                f"architecture of kind {self.kind!r} is not known here; known are {', '.join(get_args(Kind))}"
            )
        for name, weight in self.feature_weights.items():
            if not (math.isfinite(weight) and weight > 0):
                raise LearningError(f"feature {name} has the weight {weight}; a weight is finite and above 0")

    def weights(self, names: list[str]) -> list[float] | None:
        """The weight of each of these features; None when all weigh the same."""
        weights = [float(self.feature_weights.get(name, 1.0)) for name in names]
        return weights if len(set(weights)) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def declared(use_case: "UseCase") -> Architecture:
    """The architecture that a use case declares."""
    learner = use_case.learner
    parameters = learner.parameters.model_dump()
    if learner.time_scale is not None:
        parameters |= {"scale": learner.time_scale.value, "horizon": use_case.outcome.label_milestone}
    return Architecture(learner.kind, parameters)


def from_dict(data: Mapping[str, Any]) -> Architecture:
    """The architecture that ``as_dict`` wrote. Raises LearningError for a kind that is not known."""
    return Architecture(**data)
