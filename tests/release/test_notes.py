"""Change notes: in both languages, on the version and in the table, also after a crash."""

from dataclasses import replace

import pytest
from hrloop import release
from hrloop.release import Finding, notes
from hrloop.release.ledger import Release
from sqlalchemy import text


@pytest.fixture
def row(small_case, as_of):
    change = {"reference": "champion", "before": 0.2142, "after": 0.1971, "n": 412}
    return Release(
        "r1", small_case.name, as_of, "promote", 3, 2, "promote",
        evidence={"details": {"change": change}},
        approved_by="owner", approved_at=as_of, approval_reason="Convincing.",
    )  # fmt: skip


def test_what_by_how_much_on_how_many_and_who(small_case, row):
    told = notes.words(small_case, row)
    assert told["en"] == (
        "From 2026-10-01 model version 3 helps to decide in “Recruitment ranking”, in place of version 2."
        " Checked on 412 decisions whose outcome is known, its predictions miss by 8 % less than those of the"
        " version before (mean squared error 0.197 instead of 0.214). Approved by owner on 2026-10-01:"
        " Convincing."
    )
    assert "kontrollerat på 412 beslut" in told["sv"].lower()
    assert "0,197 i stället för 0,214" in told["sv"]
    assert "Godkänt av owner den 2026-10-01: Convincing." in told["sv"]


@pytest.mark.parametrize("kind", ["first", "promote", "roll_back"])
def test_every_change_has_words_also_without_figures(small_case, row, kind):
    told = notes.words(small_case, replace(row, kind=kind, evidence={}))
    assert all("version 3" in note for note in told.values())
    assert all("412" not in note for note in told.values())


def test_a_figure_that_did_not_decide_and_got_worse_is_left_out(small_case, row):
    change = {"reference": "calibrator", "before": 0.180, "after": 0.182, "n": 412}
    told = notes.words(small_case, replace(row, kind="calibrate", evidence={"details": {"change": change}}))
    assert all("412" not in note for note in told.values())


@pytest.mark.parametrize("verdict", ["promote", "roll_back"])
def test_a_calibrator_is_nobody_s_approval(small_case, row, verdict):
    told = notes.words(small_case, replace(row, kind="calibrate", verdict=verdict, approved_by=None))
    assert "by itself" in told["en"]
    assert "Rangordningen är densamma" in told["sv"]


def test_on_the_version_and_in_the_table_once(warehouse, registry, owner, small_case, decided, fitted, as_of):
    finding = Finding("promote", "It is better.")
    version = release.propose(warehouse, registry, small_case, fitted(), finding, decided(), as_of)
    release.approve(owner, small_case, version, "Convincing.")
    row = release.promote(warehouse, registry, small_case, version, as_of)
    expected = notes.words(small_case, row)

    def table():
        with warehouse.engine("engine").connect() as connection:
            rows = connection.execute(text("select release_id, language, words from loop.change_notes"))
            return {(found.release_id, found.language): found.words for found in rows}

    assert table() == {(row.release_id, language): told for language, told in expected.items()}
    tags = registry.version(small_case.name, version).tags
    assert {language: tags[f"change_note.{language}"] for language in expected} == expected
    before = table()
    release.reconcile(warehouse, registry, small_case)
    assert table() == before


def test_the_reconcile_writes_the_note_that_a_crash_left_out(
    warehouse, registry, owner, small_case, decided, fitted, as_of, monkeypatch
):
    finding = Finding("promote", "It is better.")
    version = release.propose(warehouse, registry, small_case, fitted(), finding, decided(), as_of)
    release.approve(owner, small_case, version, "Convincing.")

    def crash(*given):
        raise ConnectionError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(notes, "publish", crash)
        with pytest.raises(ConnectionError):
            release.promote(warehouse, registry, small_case, version, as_of)
    assert "change_note.en" not in registry.version(small_case.name, version).tags
    release.reconcile(warehouse, registry, small_case)
    assert "change_note.en" in registry.version(small_case.name, version).tags
