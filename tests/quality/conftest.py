"""A company whose deliveries the gate judges."""

import pytest
from great_expectations.data_context import AbstractDataContext
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse
from judged import Company


@pytest.fixture
def documented(warehouse: Warehouse, settings: Settings) -> Company:
    """A company whose gate writes data docs."""
    return Company(warehouse, settings)


@pytest.fixture
def company(documented: Company, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company whose gate does not: rendering takes as long as all the rest."""
    monkeypatch.setattr(AbstractDataContext, "build_data_docs", lambda *_, **__: {})
    return documented
