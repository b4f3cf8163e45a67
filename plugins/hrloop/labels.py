"""Labels: outcomes as a model may use them, as of a time."""

from datetime import datetime

import pandas as pd
import pyarrow as pa
from sqlalchemy import text

from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse


class StaleWarehouse(RuntimeError):
    """The warehouse does not stand where it is asked to be read. The message says what to run."""


def frame(wh: Warehouse, use_case: UseCase, as_of: datetime, milestone: int | None = None) -> pd.DataFrame:
    """What was known, as of then, of what became of each selected case: a row per case and milestone.

    Columns: case_key, milestone_months, starts_on (the day from which milestones count), ended_on (the day on
    which the outcome or the censoring took place, None where neither did before the milestone), due_on (day),
    label_status (observed, pending, missing or censored), label (float: 1 if the outcome happened, 0 if not,
    NaN unless observed), retained (float: 1, 0, NaN while it is not known), rating (float), label_known_at
    (UTC): since when this status and label have stood, whatever was put right beside them. In the order of
    case_key and milestone_months. ``milestone``: months; None for every declared one.

    Raises ValueError when the milestone is not declared, and StaleWarehouse when the warehouse stands
    before ``as_of``.
    """
    milestones = list(use_case.outcome.milestones) if milestone is None else [milestone]
    if milestone is not None and milestone not in use_case.outcome.milestones:
        raise ValueError(
            f"use case {use_case.name} declares no milestone {milestone}; "
            f"it has {list(use_case.outcome.milestones)} (outcome.milestones)"
        )
    check_standing(wh, as_of)
    rows = wh.read(
        "engine",
        """
        select
            case_key,
            milestone_months,
            starts_on,
            ended_on,
            due_on,
            status as label_status,
            value as label,
            retained,
            rating,
            label_known_from as label_known_at
        from intermediate.int_outcome_milestone_versions
        where
            use_case = :use_case
            and known_from <= :as_of
            and (known_to is null or known_to > :as_of)
        order by case_key collate "C", milestone_months
        """,
        use_case=use_case.name,
        as_of=as_of,
    )
    table = to_pandas(rows, numbers=["label", "retained", "rating"])
    return table[table["milestone_months"].isin(milestones)].reset_index(drop=True)


def check_standing(wh: Warehouse, as_of: datetime) -> None:
    """Raise StaleWarehouse when the warehouse was not built, or stands before ``as_of``."""
    with wh.engine("engine").connect() as connection:
        built = connection.scalar(text("select to_regclass('outcomes.warehouse_standing') is not null"))
        stands = connection.scalar(text("select as_of from outcomes.warehouse_standing")) if built else None
    if stands is None or stands < as_of:
        where = f"stands at {stands.isoformat()}" if stands else "has not been built"
        raise StaleWarehouse(
            f"The warehouse {where} and cannot be read as of {as_of.isoformat()}."
            " Run the steps ingest, gate and build for this as_of first; `hrloop status` shows what is done."
        )


def to_pandas(rows: pa.Table, numbers: list[str]) -> pd.DataFrame:
    """Rows as a frame whose types do not depend on the values in it.

    ``numbers`` (booleans too) become float64 with NaN, texts object with None, moments datetime64[us, UTC].
    """
    columns = {}
    for name in rows.column_names:
        column = rows[name]
        if name in numbers:
            columns[name] = column.cast(pa.float64()).to_pandas().astype("float64")
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pd.Series(column.to_numpy(), dtype="object")
        else:
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns, columns=rows.column_names, copy=False)  # or all would be copied together
