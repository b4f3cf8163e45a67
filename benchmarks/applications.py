"""Applications with the features that a use case declares, as a frame and as a feature table."""

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from hrloop import features
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from sqlalchemy import text

GROUP = 14  # applications for a requisition


def applications(use_case: UseCase, n: int) -> pd.DataFrame:
    """n rows of the declared features, numbers and texts, one in twenty missing; the same at each run."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(index=range(n))
    for feature in use_case.features:
        if feature.type == "category":
            values = np.array([f"{feature.name} {i}" for i in range(12)], dtype=object)[
                random.integers(0, 12, n)
            ]
            frame[feature.name] = pd.Series(values, dtype=object)
        elif feature.type == "boolean":
            frame[feature.name] = random.integers(0, 2, n).astype(float)
        else:
            frame[feature.name] = random.random(n).round(3)
        if feature.name != "skills_match_share":
            frame.loc[random.random(n) < 0.05, feature.name] = None
    return frame


def good(frame: pd.DataFrame) -> np.ndarray:
    """A label for each row (n,), 0 or 1, that its features tell something of."""
    random = np.random.default_rng(1)
    return (random.random(len(frame)) < 0.2 + 0.6 * frame["skills_match_share"]).to_numpy(float)


def decided(use_case: UseCase, n: int, as_of: datetime) -> pd.DataFrame:
    """n decisions of the two years before, all selected and with their label, as a training frame."""
    frame = applications(use_case, n)
    decided_at = pd.Timestamp(as_of) - pd.to_timedelta(np.linspace(1130, 400, n), unit="D")
    return _keyed(frame).assign(
        decision_id=[f"d{number}" for number in range(n)],
        decided_at=decided_at,
        origin="history",
        selected=True,
        selection_propensity=np.nan,
        label_status="observed",
        label=good(frame),
        label_known_at=decided_at + pd.Timedelta(days=395),
        follow_up=float(use_case.outcome.label_milestone),
    )


def open_cases(wh: Warehouse, use_case: UseCase, n: int, since: datetime) -> None:
    """A feature table of n cases that are open since then, in a warehouse that stands there."""
    decision = use_case.decision
    keys = (decision.case_key, decision.subject_key, decision.group_key)
    frame = _keyed(applications(use_case, n)).rename(columns=dict(zip(features.KEYS, keys, strict=True)))
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    moment = pa.timestamp("us", "UTC")
    for name, value in (("known_from", since), ("known_to", None), ("open_from", since), ("open_to", None)):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, moment), n))
    schema, table = decision.feature_table.split(".")
    close(wh, use_case)
    with wh.adbc("transformer") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, rows, mode="create", db_schema_name=schema)
    with wh.engine("transformer").begin() as connection:
        connection.execute(
            text("create table outcomes.warehouse_standing as select cast(:since as timestamptz) as as_of"),
            {"since": since},
        )
        connection.execute(text(f"analyze {decision.feature_table}"))


def close(wh: Warehouse, use_case: UseCase) -> None:
    """Drop what ``open_cases`` made."""
    with wh.engine("transformer").begin() as connection:
        connection.execute(
            text(f"drop table if exists {use_case.decision.feature_table}, outcomes.warehouse_standing")
        )


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = np.arange(len(frame))
    return frame.assign(
        case_key=[f"A{number:08d}" for number in numbers],
        subject_key=[f"{number:032x}" for number in numbers],
        group_key=[f"R{number:07d}" for number in numbers // GROUP],
    )
