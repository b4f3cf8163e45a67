"""A real MLflow server for the tests, one a session; models made by a test go when it ends."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hrloop import services, usecase
from hrloop.learning import Fitted, fit
from hrloop.release import Registry
from hrloop.settings import PROJECT, Settings
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse
from sqlalchemy import create_engine, text


@pytest.fixture(scope="session")
def mlflow_settings(server: Warehouse) -> Iterator[Settings]:
    """Settings of the session's installation, whose MLflow server runs and may send webhooks."""
    settings = server.settings.model_copy(update={"approval_webhook": True})
    services.start_mlflow(settings, server, report=lambda _: None)
    yield settings
    services.stop(settings, "mlflow")


@pytest.fixture
def registry(mlflow_settings: Settings) -> Iterator[Registry]:
    """The registry as the service account, empty before and after."""
    registry = _as(mlflow_settings, services.SERVICE_ACCOUNT)
    yield registry
    with registry.client() as client:
        for model in client.search_registered_models():
            client.delete_registered_model(model.name)
        for experiment in client.search_experiments(filter_string="name != 'Default'"):
            client.rename_experiment(experiment.experiment_id, f"past {experiment.experiment_id}")


@pytest.fixture
def owner(mlflow_settings: Settings) -> Registry:
    """The registry as the model owner, who may approve."""
    return _as(mlflow_settings, services.OWNER)


@pytest.fixture
def viewer(mlflow_settings: Settings) -> Registry:
    """The registry as one who may only look."""
    return _as(mlflow_settings, services.VIEWER)


@pytest.fixture
def tampered(server: Warehouse) -> Iterator[Callable[..., None]]:
    """Changes tags of a version in MLflow's own database, behind the server's back; None deletes one."""
    engine = create_engine(server.url("mlflow"))

    def put(use_case: str, number: int, tags: dict[str, str | None]) -> None:
        with engine.begin() as connection:
            for key, value in tags.items():
                row = {"name": use_case, "version": number, "key": key, "value": value}
                where = "where name = :name and version = :version and key = :key"
                connection.execute(text(f"delete from model_version_tags {where}"), row)
                if value is not None:
                    connection.execute(
                        text(
                            "insert into model_version_tags (workspace, name, version, key, value)"
                            " values ('default', :name, :version, :key, :value)"
                        ),
                        row,
                    )

    yield put
    engine.dispose()


def _as(settings: Settings, user: str) -> Registry:
    return Registry(services.mlflow_url(settings), user, services.mlflow_password(settings, user))


# --- a small use case and its models ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def as_of() -> datetime:
    """The moment of the tests."""
    return datetime(2026, 10, 1, 6, tzinfo=UTC)


@pytest.fixture(scope="session")
def small_case() -> UseCase:
    """The repository's use case with three features and a learner that takes a moment."""
    data = usecase.load("recruitment", PROJECT).model_dump()
    data["name"] = "small_case"
    data["features"] = [
        {"name": "years_experience", "type": "number", "description": "Years of experience."},
        {"name": "job_family", "type": "category", "description": "Job family."},
        {"name": "foreign_experience", "type": "boolean", "description": "Worked abroad."},
    ]
    data["learner"] |= {"rounds": 10, "folds": 2}
    data["reviews"]["about"] = {}
    data["learner"]["parameters"]["eta"] = 0.5  # so that ten rounds tell sure cases from unsure ones
    return UseCase.model_validate(data)


@pytest.fixture(scope="session")
def decided() -> Callable[..., pd.DataFrame]:
    """Makes a training frame of n decisions with observed labels."""

    def make(n: int = 600, seed: int = 1) -> pd.DataFrame:
        r = np.random.default_rng(seed)
        decided_at = pd.Timestamp("2024-01-01T06:00:00Z") + pd.to_timedelta(np.arange(n) // 10, unit="D")
        frame = _cases(n, r).assign(
            decision_id=[f"d{i:05d}" for i in range(n)],
            decided_at=decided_at,
            origin="history",
            selected=True,
            selection_propensity=np.nan,
            label_status="observed",
            follow_up=12.0,
            label_known_at=decided_at + pd.Timedelta(days=400),
        )
        good = (0.12 * frame["years_experience"].fillna(4) - 0.2).clip(0.02, 0.98)
        return frame.assign(label=(r.random(n) < good).astype(float))

    return make


@pytest.fixture(scope="session")
def cases() -> Callable[..., pd.DataFrame]:
    """Makes n open cases in groups of about ten, as features.scoring_frame gives them."""
    return lambda n=60, seed=2: _cases(n, np.random.default_rng(seed))


def _cases(n: int, r: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "case_key": [f"A{i:05d}" for i in range(n)],
            "subject_key": [f"{i:032x}" for i in range(n)],
            "group_key": [f"R{g:03d}" for g in r.integers(0, max(1, n // 10), n)],
            "years_experience": r.gamma(3, 2, n).round(1),
            "job_family": r.choice(["engineering", "nursing", "sales"], n),
            "foreign_experience": (r.random(n) < 0.3).astype(float),
        }
    )
    frame.loc[r.random(n) < 0.05, "years_experience"] = np.nan
    return frame


@pytest.fixture(scope="session")
def fitted(
    small_case: UseCase, decided: Callable[..., pd.DataFrame], as_of: datetime
) -> Callable[..., Fitted]:
    """Makes a model; equal seeds, equal model."""
    return lru_cache(lambda seed=1: fit(small_case, decided(seed=seed), as_of))
