"""Evidently's page of drift: every declared feature, nobody's gender, and nothing loaded from elsewhere."""

import re

import numpy as np
import pandas as pd
import pytest
from hrloop import usecase
from hrloop.rhythms import reports
from hrloop.settings import PROJECT


@pytest.fixture(scope="module")
def declaration():
    return usecase.load("recruitment", PROJECT)


def cases(declaration, n: int, seed: int) -> pd.DataFrame:
    """Cases with values of each declared type, a few missing, and an attribute that nobody asked for."""
    r = np.random.default_rng(seed)
    values = {"number": r.normal(size=n), "boolean": r.integers(0, 2, n), "category": r.choice(["a", "b"], n)}
    frame = pd.DataFrame({feature.name: values[feature.type] for feature in declaration.features})
    return frame.mask(r.random(frame.shape) < 0.05).assign(gender="female")


def test_the_page_of_drift_shows_the_features_and_loads_nothing(declaration):
    newest = cases(declaration, 150, seed=2).assign(education_field=None, assessment_score=np.nan)
    page = reports.drift_page(declaration, cases(declaration, 300, seed=1), newest)
    lost = {"education_field", "assessment_score"}  # the table has them
    # a name such as location stands in every page's scripts, too
    names = {name for name in (*declaration.feature_names, "gender") if "_" in name or name == "gender"}
    assert {name for name in names if f'"{name}' in page} == names - lost - {"gender"}
    assert not re.search(r'(src=|@import |url\()["\']?https?:', page)
