"""Point-in-time frames: for each case the features that were known when it was decided, and no later ones.

Works on any feature table with the columns known_from and known_to (when a version stood as known), and
open_from and open_to (when a case could be decided), beside the keys and features that a use case declares.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text

from hrloop import labels
from hrloop.usecase import Feature, UseCase
from hrloop.warehouse import Warehouse

if TYPE_CHECKING:
    from hrloop.learning import Fitted
    from hrloop.learning.encoding import Column

MONTH = 30.4375  # days: a year is 365.25
KEYS = ["case_key", "subject_key", "group_key"]


class FeatureError(ValueError):
    """The declaration and the feature table do not fit. The message names use case, column and remedy."""


def scoring_frame(
    wh: Warehouse, use_case: UseCase, as_of: datetime, versions: "Sequence[Fitted]" = ()
) -> pd.DataFrame:
    """The cases that are open as of then and were not decided before, with their features.

    Columns: case_key, subject_key, group_key, period (text; empty where a subject does not come back), then
    the declared features in their order: numbers and booleans as float64 with NaN, categories as object with
    None. In the order of case_key. A case that the loop decided at this very ``as_of`` is there again: a
    second run sees what the first one saw.

    ``versions``: those that are to score the cases. One may have learnt under an earlier declaration: what it
    reads and is declared no more comes last, as far as the feature table still has it.

    Raises StaleWarehouse when the warehouse stands before ``as_of``, and FeatureError when the feature table
    lacks a declared column.
    """
    labels.check_standing(wh, as_of)
    beside = undeclared(use_case, versions)
    columns = _columns(wh, use_case, beside)
    # Table and columns come from the declaration, which admits plain identifiers only; values are bound.
    rows = wh.read(
        "engine",
        f"""
        select {columns}
        from {use_case.decision.feature_table} as features
        left join loop.decisions
            on
                decisions.use_case = :use_case
                and decisions.case_key = features.{use_case.decision.case_key}
                and decisions.as_of < :as_of
        where
            features.open_from <= :as_of
            and (features.open_to is null or features.open_to > :as_of)
            and features.known_from <= :as_of
            and (features.known_to is null or features.known_to > :as_of)
            and decisions.decision_id is null
        """,  # noqa: S608
        use_case=use_case.name,
        as_of=as_of,
    )
    return _in_order(rows, ["case_key"], _numbers([*use_case.features, *beside]))


def training_frame(
    wh: Warehouse, use_case: UseCase, as_of: datetime, versions: "Sequence[Fitted]" = ()
) -> pd.DataFrame:
    """The decisions taken before ``as_of`` and known by then, with features as known when each was decided.

    Columns: decision_id, case_key, subject_key, group_key, period, decided_at, origin ('history' or 'loop'),
    selected (bool: whether the outcome can be seen, as known by ``as_of``), selection_propensity (float, the
    logged probability of the action after which it is seen, NaN for history), the declared features as in
    scoring_frame, and for the declared milestone label_status (None unless selected), label (float, NaN
    unless observed), follow_up (float, months of 30.4375 days from the start to the event, the censoring or
    the milestone, NaN unless observed or censored) and label_known_at: since when status and label have
    stood, whatever was put right beside them. In the order of decided_at and decision_id. What ``versions``
    read beside the declared features comes last, as in scoring_frame; nothing is learnt from it.

    A decision that people took before the case was known to the warehouse is left out: its features were
    not known when it was taken. Decisions taken at ``as_of`` itself belong to the next frame, so that the
    frame does not depend on whether this round's decisions were taken already.

    Raises StaleWarehouse when the warehouse stands before ``as_of`` or lacks decisions that the loop took
    before it, and FeatureError when the feature table lacks a declared column.
    """
    labels.check_standing(wh, as_of)
    _check_decisions(wh, use_case, as_of)
    beside = undeclared(use_case, versions)
    columns = _columns(wh, use_case, beside)
    positive = use_case.selection.outcome_of == "positive"
    propensity = "decisions.selection_propensity" if positive else "1 - decisions.selection_propensity"
    rows = wh.read(
        "engine",
        f"""
        select
            decisions.decision_id,
            decisions.decided_at,
            decisions.origin,
            {propensity} as selection_propensity,
            outcomes.case_key is not null as selected,
            outcomes.status as label_status,
            outcomes.value as label,
            case
                when outcomes.status in ('observed', 'censored')
                    then
                        (least(outcomes.ended_on, outcomes.due_on) - outcomes.starts_on)::double precision
                        / {MONTH}
            end as follow_up,
            outcomes.label_known_from as label_known_at,
            {columns}
        from outcomes.fct_decisions as decisions
        inner join {use_case.decision.feature_table} as features
            on
                decisions.case_key = features.{use_case.decision.case_key}
                and features.known_from <= decisions.decided_at
                and (features.known_to is null or features.known_to > decisions.decided_at)
        left join intermediate.int_outcome_milestone_versions as outcomes
            on
                outcomes.use_case = :use_case
                and outcomes.case_key = decisions.case_key
                and outcomes.milestone_months = {use_case.outcome.label_milestone:d}
                and outcomes.known_from <= :as_of
                and (outcomes.known_to is null or outcomes.known_to > :as_of)
        where
            decisions.use_case = :use_case
            and decisions.decided_at < :as_of
            and decisions.known_at <= :as_of
        """,  # noqa: S608 - as above; the milestone is an integer
        use_case=use_case.name,
        as_of=as_of,
    )
    numbers = [*_numbers([*use_case.features, *beside]), "selection_propensity", "label", "follow_up"]
    table = _in_order(rows, ["decided_at", "decision_id"], numbers)
    decision = ["decision_id", *KEYS, "period", "decided_at", "origin", "selected", "selection_propensity"]
    label = ["label_status", "label", "follow_up", "label_known_at"]
    there = [column.name for column in beside if column.name in table]
    return table[[*decision, *use_case.feature_names, *label, *there]]


def undeclared(use_case: UseCase, versions: "Sequence[Fitted]") -> "list[Column]":
    """What these versions read that the use case does not declare any more, each column once."""
    read = {column.name: column for fitted in versions for column in fitted.encoder.columns}
    return [column for name, column in read.items() if name not in use_case.feature_names]


def protected_frame(wh: Warehouse, use_case: UseCase, as_of: datetime) -> pd.DataFrame:
    """The protected attributes of every case or subject, as known by then, read as the role ``fairness``.

    Columns: case_key (subject_key where the attributes are the subject's) and the declared attributes, as
    texts with None; numbers with declared bands as the band's name. For comparisons between groups alone:
    it is joined to no frame that anything learns from.
    """
    protected = use_case.protected
    attributes = ", ".join(protected.attributes)
    rows = wh.read(
        "fairness",
        f"""
        select distinct on ({protected.key}) {protected.key} as {protected.of}_key, {attributes}
        from {protected.view}
        where _known_at <= :as_of
        order by {protected.key}, _known_at desc
        """,  # noqa: S608 - plain identifiers of the declaration
        as_of=as_of,
    )
    frame = labels.to_pandas(rows, numbers=[])
    for attribute in protected.attributes:
        values = frame[attribute].map(lambda value: (value or "").strip() or None)
        bands = protected.bands.get(attribute)
        frame[attribute] = _banded(values, list(bands.edges)) if bands else values
    return frame


def _banded(values: pd.Series, edges: list[float]) -> pd.Series:
    names = [f"below {edges[0]:g}"]
    names += [f"{low:g} to below {high:g}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]:g} and above")
    numbers = pd.to_numeric(values, errors="coerce")  # the gate does not judge protected columns
    cut = pd.cut(numbers, [-np.inf, *edges, np.inf], right=False, labels=names)
    return cut.astype(object).where(cut.notna(), None)


def _columns(wh: Warehouse, use_case: UseCase, beside: "list[Column]") -> str:
    """The select list of keys, features, and what is read beside them as far as it is there.

    Raises FeatureError naming keys and features that are not there.
    """
    decision = use_case.decision
    keys = {
        "case_key": decision.case_key,
        "subject_key": decision.subject_key,
        "group_key": decision.group_key,
    }
    if decision.period:
        keys["period"] = decision.period.key
    schema, name = decision.feature_table.split(".")
    with wh.engine("engine").connect() as connection:
        there = connection.scalars(
            text(
                "select column_name from information_schema.columns"
                " where table_schema = :schema and table_name = :name"
            ),
            {"schema": schema, "name": name},
        ).all()
    missing = [column for column in (*keys.values(), *use_case.feature_names) if column not in there]
    if missing:
        raise FeatureError(
            f"use case {use_case.name}: {decision.feature_table} has no column {', '.join(missing)}."
            " Add it to the dbt model and build the warehouse, or correct the declaration's features."
        )
    listed = [f"features.{column} as {key}" for key, column in keys.items()]
    listed += [] if decision.period else ["'' as period"]
    # what is gone is named by the version that reads it, once that is asked: the others can still score
    named = [*use_case.feature_names, *(column.name for column in beside if column.name in there)]
    return ", ".join(listed + [f"features.{column}" for column in named])


def _in_order(rows: pa.Table, by: list[str], numbers: list[str]) -> pd.DataFrame:
    """Rows as ``labels.to_pandas`` gives them, in this order; texts are ordered by their bytes.

    Not by Postgres, which would sort whole rows, on disk where they are many.
    """
    order = pc.sort_indices(rows, [(name, "ascending") for name in by]).to_numpy()
    return labels.to_pandas(rows, numbers).take(order).reset_index(drop=True)


def _numbers(features: "Sequence[Feature | Column]") -> list[str]:
    return [feature.name for feature in features if feature.type != "category"]


def absent_decisions(wh: Warehouse, use_case: UseCase, as_of: datetime) -> int:
    """How many decisions that the loop took before ``as_of`` a warehouse that was built does not hold yet."""
    with wh.engine("engine").connect() as connection:
        return connection.scalar(
            text("""
                select count(*)
                from loop.decisions as taken
                left join outcomes.fct_decisions as built on taken.decision_id = built.decision_id
                where taken.use_case = :use_case and taken.as_of < :as_of and built.decision_id is null
            """),
            {"use_case": use_case.name, "as_of": as_of},
        )


def _check_decisions(wh: Warehouse, use_case: UseCase, as_of: datetime) -> None:
    absent = absent_decisions(wh, use_case, as_of)
    if absent:
        raise labels.StaleWarehouse(
            f"{absent} decision(s) of use case {use_case.name} before {as_of.isoformat()} are not in"
            " outcomes.fct_decisions yet. Build the warehouse again; `hrloop run build` does it."
        )
