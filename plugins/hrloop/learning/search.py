"""The quarterly search over architectures: which learns best from what came before for what comes next.

The declared architecture is measured first. Then each family gets its even part of the declared trials,
chosen by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) with the declared seed. A trial
is measured by the weighted log loss on the forward folds of the development part alone; calibration and
evaluation labels are left for the winner, which is then learnt and evaluated like any other version. The
same frame gives the same winner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd

from hrloop.learning.architecture import Architecture, declared
from hrloop.learning.fitted import KINDS
from hrloop.learning.training import Prepared, prepare

if TYPE_CHECKING:
    from hrloop.usecase import UseCase

STARTUP = 3  # trials drawn at random before the estimator has anything to go by

Propose = Callable[[optuna.Trial], Architecture]


@dataclass(frozen=True)
class Search:
    """What a search found.

    ``trials``: one row a trial, the best first: family, parameters, log_loss (mean over the folds), spread
    (standard deviation over them), and the architecture. ``notes``: in words, what was left out and why.
    """

    winner: Architecture
    trials: pd.DataFrame
    notes: tuple[str, ...]


def search(use_case: "UseCase", frame: pd.DataFrame, as_of: datetime) -> Search:
    """The architecture with the least mean loss over the forward folds; on a tie, the one tried first.

    frame and errors as in ``training.fit``, which learns the winner.
    """
    ready = prepare(use_case, frame, as_of)
    families: dict[str, Propose] = {"linear": linear, "depthwise": depthwise, "lossguide": lossguide}
    notes = []
    if any(feature.monotone for feature in use_case.features):
        families["monotone"] = monotone
    else:
        notes.append("monotone trees were not tried: no feature is declared monotone")
    if KINDS[use_case.learner.kind].learns == "time":
        families["survival"] = partial(survival, horizon=use_case.outcome.label_milestone)
    shares = np.array_split(np.arange(use_case.search.trials.value), len(families))
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a trial is a row of the table, not a line of log
    tried = [_measured("declared", declared(use_case), use_case, ready)]
    for (family, propose), share in zip(families.items(), shares, strict=True):
        tried += _trials(family, propose, len(share), use_case, ready)
    trials = pd.DataFrame(tried).sort_values("log_loss", kind="stable", ignore_index=True)
    return Search(trials["architecture"].iloc[0], trials, tuple(notes))


def depthwise(trial: optuna.Trial, monotone: bool = False) -> Architecture:
    """Trees that grow level by level."""
    depth = trial.suggest_int("max_depth", 2, 6)
    return Architecture("xgboost", _shared(trial) | {"max_depth": depth}, monotone=monotone)


def monotone(trial: optuna.Trial) -> Architecture:
    """Trees that grow level by level, held to the directions that the use case declares."""
    return depthwise(trial, monotone=True)


def lossguide(trial: optuna.Trial) -> Architecture:
    """Trees that grow where the loss falls most, up to a number of leaves and however deep."""
    leaves = trial.suggest_int("max_leaves", 4, 32, log=True)
    grown = {"grow_policy": "lossguide", "max_depth": 0, "max_leaves": leaves}
    return Architecture("xgboost", _shared(trial) | grown, monotone=False)


def survival(trial: optuna.Trial, horizon: float) -> Architecture:
    """Trees of the time until the outcome, which grow level by level. With a scale of 1 the odds of it grow
    in proportion to the time, below 1 faster and above slower."""
    grown = {"max_depth": trial.suggest_int("max_depth", 2, 6)}
    law = {"scale": trial.suggest_float("scale", 0.4, 2.0, log=True), "horizon": horizon}
    return Architecture("survival", _shared(trial) | grown | law, monotone=False)


def linear(trial: optuna.Trial) -> Architecture:
    """Logistic regression, from nearly the base rate alone to nearly no penalty."""
    return Architecture("linear", {"C": trial.suggest_float("C", 0.003, 3.0, log=True)})


def _shared(trial: optuna.Trial) -> dict[str, float]:
    """What trees of any growth policy vary in, around what suits some hundred to some thousand labels."""
    return {
        "eta": trial.suggest_float("eta", 0.03, 0.2, log=True),
        "min_child_weight": trial.suggest_float("min_child_weight", 1.0, 20.0, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.5, 20.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
    }


def _trials(
    family: str, propose: Propose, number: int, use_case: "UseCase", ready: Prepared
) -> list[dict[str, Any]]:
    """So many trials of one family, each proposed in the light of those before it."""
    measured = []

    def objective(trial: optuna.Trial) -> float:
        measured.append(_measured(family, propose(trial), use_case, ready))
        return measured[-1]["log_loss"]

    sampler = optuna.samplers.TPESampler(seed=use_case.learner.seed, n_startup_trials=STARTUP)
    optuna.create_study(sampler=sampler).optimize(objective, n_trials=number)
    return measured


def _measured(
    family: str, architecture: Architecture, use_case: "UseCase", ready: Prepared
) -> dict[str, Any]:
    kind = KINDS[architecture.kind]
    folds = kind.forward(architecture, use_case.learner, *ready.learnt(kind.learns))
    losses = [fold["log_loss"] for fold in folds]
    return {
        "family": family,
        "parameters": dict(architecture.parameters),
        "log_loss": float(np.mean(losses)),
        "spread": float(np.std(losses)),
        "architecture": architecture,
    }
