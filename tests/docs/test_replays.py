"""docs/replay.md says what its replays came to."""

from hrloop.settings import PROJECT

from docs.figures import replays

PAGE = PROJECT / "docs" / "replay.md"


def test_the_page_has_the_tables_of_the_replays_on_file():
    page = PAGE.read_text(encoding="utf-8")
    tables = list(replays.tables())
    assert tables
    for table in tables:
        assert len(table) > 2
        assert "\n".join(table) in page
