"""Settings, secrets and the as_of."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hrloop import as_of
from hrloop.settings import Settings


def test_a_secret_is_made_once_and_is_private(tmp_path):
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(settings.secret, ["key"] * 40))
    assert len(answers) == 1
    assert len(answers.pop()) >= 40
    files = list((tmp_path / "secrets").iterdir())
    assert [file.name for file in files] == ["key"]
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_the_environment_gives_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("HRLOOP_SECRET_KEY", "given")
    assert Settings(home=tmp_path).secret("key") == "given"
    assert not os.listdir(tmp_path)


def test_the_database_url_is_never_printed():
    settings = Settings(DATABASE_URL="postgresql://me:hidden@host/db")
    assert "hidden" not in repr(settings)


def test_an_as_of_has_an_offset():
    assert as_of.text(as_of.parse("2026-10-01T08:00:00+02:00")) == "2026-10-01T06:00:00Z"
    with pytest.raises(ValueError, match="no UTC offset"):
        as_of.parse("2026-10-01T08:00:00")
    with pytest.raises(ValueError, match="not an ISO 8601 time"):
        as_of.parse("yesterday")
    with pytest.raises(ValueError, match="no UTC offset"):
        as_of.utc(datetime(2026, 10, 1))  # noqa: DTZ001
