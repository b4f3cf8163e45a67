"""Decisions by a champion from MLflow: rounds from Postgres to Postgres, and one case in process.

A round decides n open cases: its reference reads the same columns by ADBC, predicts with XGBoost's
``inplace_predict``, and writes the same rows by ADBC into a table with the same columns, keys and checks. It
leaves out ranks, draws, routes, hashes and JSON. Each case that a person is to look at is also explained,
which takes a hundred times as long as all else: where cases are explained, the reference calls
XGBoost's ``pred_contribs`` for as many.
"""

import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from hrloop import decisions, features, release, services
from hrloop.decisions import policy, rounds
from hrloop.learning import Fitted, calibration, fit
from hrloop.release import Registry
from hrloop.settings import Settings
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from sqlalchemy import text

from benchmarks import MANY, Row, at_most, in_bulk, peak_memory, rate, seconds
from benchmarks.applications import applications, close, decided, open_cases

ROUND_LIMIT = 0.6  # of the rate of reading, predicting and writing, each alone at its limit
SINGLE_LIMIT = 2.0  # milliseconds at the 99th percentile: a page that asks does not notice
EXPLAINED = 10_000  # cases in a round that explains: an explanation costs the same at any number
AS_OF = datetime(2026, 10, 1, 6, tzinfo=UTC)
MEMORY_LIMIT = 4.0  # GB that this process may hold with a million applications
LIKE = "decisions_benchmark"


def serve(wh: Warehouse, settings: Settings, use_case: UseCase) -> Registry:
    """An MLflow server with a champion, trained on 3,000 labels. The caller stops the server."""
    services.start_mlflow(settings, wh, report=lambda _: None)
    owner, registry = (release.connect(settings, user) for user in (services.OWNER, services.SERVICE_ACCOUNT))
    frame = decided(use_case, 3000, AS_OF)
    finding = release.Finding("promote", "The champion of the benchmark.")
    version = release.propose(
        wh, registry, use_case, fit(use_case, frame, AS_OF), finding, frame, AS_OF, "benchmark"
    )
    release.approve(owner, use_case, version, "It decides about nobody.")
    release.promote(wh, registry, use_case, version, AS_OF)
    return registry


def run(wh: Warehouse, settings: Settings, registry: Registry, use_case: UseCase, n: int) -> list[Row]:
    """Rates of rounds of n cases that nobody looks at, and the memory that one took."""
    nobody = {
        name: getattr(use_case.routing, name).model_copy(update={"value": 0.0})
        for name in ("confidence_below", "audit_share")
    }
    automatic = use_case.model_copy(update={"routing": use_case.routing.model_copy(update=nobody)})
    return _round("batch decisions", wh, settings, registry, automatic, n)


def explained(wh: Warehouse, settings: Settings, registry: Registry, use_case: UseCase) -> list[Row]:
    """The rate of a round as it is declared, which explains what a person is to look at."""
    return _round("batch decisions, explained", wh, settings, registry, use_case, EXPLAINED)


def single(wh: Warehouse, registry: Registry, use_case: UseCase) -> list[Row]:
    """One case after the other in this process: its probability, and why a person should look at it.

    A case is given as an array of one value for each feature, and as a frame of one row, of which no limit is
    asked: to take sixteen columns out of a frame takes as long as to score them.
    """
    fitted, rules = release.serving(wh, registry, use_case).fitted, use_case.routing
    frame = applications(use_case, 1000)
    columns = {name: frame[name].to_numpy() for name in use_case.feature_names}

    def decide(case: dict[str, np.ndarray] | pd.DataFrame) -> None:
        read = fitted.encode(case)
        probability = fitted.probability(read)
        confidence = calibration.confidence(probability, probability > 0.5)
        draw = policy.draws("key", "audit", ["case"])
        policy.route(
            confidence, rules.confidence_below.value, draw, rules.audit_share.value, fitted.edge_cases(read)
        )

    arrays = [{name: values[[i]] for name, values in columns.items()} for i in range(len(frame))]
    frames = [frame.iloc[[i]] for i in range(len(frame))]
    rows = []
    for name, cases, limit in (("", arrays, 1.0), (" given as a frame", frames, None)):
        taken = [1000 * seconds(lambda case=case: decide(case)) for _ in range(3) for case in cases]
        for what, part in (("p50", 0.5), ("p99", 0.99)):
            spent = float(np.quantile(taken[100:], part))  # the first ones warm up
            rows.append(
                at_most(f"one decision in process{name}, {what}", 1, spent, SINGLE_LIMIT, "ms", limit)
            )
    return rows


def _round(
    name: str, wh: Warehouse, settings: Settings, registry: Registry, use_case: UseCase, n: int
) -> list[Row]:
    open_cases(wh, use_case, n, AS_OF)
    fitted = release.serving(wh, registry, use_case).fitted
    turns, memory = [], None
    try:
        for _ in range(3):
            _clear(wh)
            start = time.perf_counter()
            report = decisions.decide(wh, settings, registry, use_case, AS_OF)
            ours = time.perf_counter() - start
            if report.decided != n:
                raise RuntimeError(f"the round should have decided {n} cases: {report}")
            # before the reference reads all of it once more
            memory = memory or peak_memory(f"peak memory, up to {name}", n, MEMORY_LIMIT)
            turns.append((ours, _plain(wh, use_case, fitted)))
    finally:
        _clear(wh)
        close(wh, use_case)
    return [rate(name, n, turns, in_bulk(ROUND_LIMIT, n, MANY)), memory]


def _plain(wh: Warehouse, use_case: UseCase, fitted: Fitted) -> float:
    """Seconds that reading, predicting, explaining and writing take alone, for the round that was decided."""
    decision = use_case.decision
    keys = (decision.case_key, decision.subject_key, decision.group_key)
    read = f"select {', '.join([*keys, *use_case.feature_names])} from {decision.feature_table}"  # noqa: S608
    rows = wh.read("engine", f"select * from {rounds.TABLE}")  # noqa: S608 - a constant
    for name in ("reasons", "features"):  # as Postgres's jsonb is sent: a version byte, and the text
        sent = pc.binary_join_element_wise("\x01", rows[name].cast(pa.string()), "")
        rows = rows.set_column(rows.column_names.index(name), name, sent)
    matrix = fitted.encoder.matrix(features.scoring_frame(wh, use_case, AS_OF))
    looked_at = matrix[pc.is_valid(rows["reasons"]).to_numpy()]

    def read_all() -> None:
        with wh.adbc("engine") as connection, connection.cursor() as cursor:
            cursor.execute(read)
            cursor.fetch_arrow_table()

    def write() -> None:
        with wh.adbc("engine") as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(LIKE, rows, mode="append", db_schema_name="loop")

    return sum(
        seconds(work)
        for work in (
            read_all,
            lambda: fitted.learnt.booster.inplace_predict(matrix),
            lambda: fitted.learnt.contributions(looked_at),
            write,
        )
    )


def _clear(wh: Warehouse) -> None:
    """No decisions, and an empty table like theirs; only a superuser may take the former away."""
    with wh.engine("admin").connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set session_replication_role = replica"))
        connection.execute(text("truncate loop.decisions cascade"))
        connection.execute(text("reset session_replication_role"))
        connection.execute(text(f"drop table if exists loop.{LIKE}"))
        connection.execute(text(f"create table loop.{LIKE} (like {rounds.TABLE} including all)"))
        connection.execute(text(f"grant insert on loop.{LIKE} to engine"))
        connection.execute(text("checkpoint"))  # nobody pays for what another has written
