"""The loop's decisions that a warehouse lacks are brought in by whoever reads it first, once."""

import threading
from datetime import timedelta

import pytest
import small_company as company
from hrloop import transform
from hrloop.rhythms import Loop, intake, locked, matured

HALF = company.START + timedelta(days=500)


@pytest.fixture
def loop(server, tmp_path):
    """A warehouse that was built, and decisions that were taken after that."""
    rows = company.random_staff(seed=5, employees=8)
    before = rows.known_by(HALF)
    with company.fresh(server, tmp_path) as warehouse:
        loop = Loop(warehouse.settings, warehouse)
        company.insert(warehouse, company.Rows(before.tables))
        intake.build(loop, HALF)
        company.insert(warehouse, company.Rows(decisions=before.decisions))
        yield loop


def test_two_that_find_decisions_lacking_refresh_the_warehouse_once(loop, monkeypatch):
    declaration = loop.use_case("attrition")
    refreshed, frames = [], []
    build = transform.build

    def counted(*arguments, **how):
        refreshed.append(how["select"])
        return build(*arguments, **how)

    def read() -> None:
        frames.append(matured.training_frame(loop, declaration, HALF))

    monkeypatch.setattr(transform, "build", counted)
    readers = [threading.Thread(target=read) for _ in range(2)]
    with locked(loop, intake.ALONE):  # as a build holds it
        for reader in readers:
            reader.start()
        readers[0].join(5)
        assert not refreshed, "a refresh waits until the build is over"
    for reader in readers:
        reader.join(300)
    assert refreshed == [("source:loop.decisions+",)]
    first, second = frames
    assert (first["origin"] == "loop").any()
    assert first.equals(second)
