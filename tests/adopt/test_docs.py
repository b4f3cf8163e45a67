"""docs/bring-your-own-data.md does what it says, and its example comes in once."""

import re

from hrloop.settings import PROJECT

PAGE = (PROJECT / "docs" / "bring-your-own-data.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_page_does_what_it_says(run, warehouse, everything, tmp_path, monkeypatch):
    (tmp_path / "docs").symlink_to(PROJECT / "docs")
    monkeypatch.chdir(tmp_path)
    for block in blocks("console"):
        command, *expected = block.splitlines()
        assert command.startswith("$ hrloop adopt ")
        done = run(*command.split()[2:])
        for line in expected:
            assert words(line) in words(done.output), done.output
    assert done.exit_code == 0

    proposed, mended = blocks("yaml")
    for excerpt, file in (
        (proposed, tmp_path / "mine.yaml"),
        (mended, PROJECT / "docs/examples/sources.yaml"),
    ):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert set(excerpt.splitlines()) <= set(lines)

    before = everything()
    again = run("adopt", "load", "docs/examples/sources.yaml", "--as-of", "2024-07-01T06:00:00Z")
    assert "0 batches were taken" in again.output
    assert everything() == before
    ratings = warehouse.read("loader", "select distinct rating from raw.hris__reviews order by 1").to_pylist()
    assert [row["rating"] for row in ratings] == ["2", "3", "3.5", "4", "5"]
