"""Where deliveries are put."""

import gzip
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hrloop import as_of
from hrloop.settings import Settings


@pytest.fixture
def deliver(settings: Settings) -> Callable[..., Path]:
    """``deliver("ats/requisitions/2024-02-01.csv", content)`` puts a file into the landing folder."""

    def put(path: str, content: str | bytes, modified: datetime | None = None) -> Path:
        file = settings.landing / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        file.write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)
        moment = (modified or as_of.parse("2024-01-01T00:00:00Z")).timestamp()
        os.utime(file, (moment, moment))
        return file

    return put
