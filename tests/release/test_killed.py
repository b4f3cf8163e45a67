"""kill -9 before every request and every statement of a promotion and of a roll-back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hrloop import release, services
from hrloop.release import Finding


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        ("promote", ({"champion": 1, "challenger": 2}, 1), ({"champion": 2, "previous": 1}, 2)),
        ("rollback", ({"champion": 2, "previous": 1}, 2), ({"champion": 1}, 1)),
    ],
)
def test_killed_anywhere_all_agree(
    warehouse, registry, owner, small_case, decided, fitted, as_of, mlflow_settings, what, before, after
):
    for seed, champion in ((1, None), (2, 1)):
        finding = Finding("promote", "words", compared_with=champion)
        version = release.propose(
            warehouse, registry, small_case, fitted(seed), finding, decided(), as_of, f"rhythm {seed}"
        )
        release.approve(owner, small_case, version, "Measured well.", as_of)
        if seed == 1 or what == "rollback":
            release.promote(warehouse, registry, small_case, version, as_of)
    rows_before = len(release.read(warehouse, small_case.name))

    ran = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("killed.py"),
            mlflow_settings.home,
            warehouse.admin.render_as_string(hide_password=False),
            warehouse.database,
            services.mlflow_url(mlflow_settings),
            what,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    steps = [json.loads(line) for line in ran.stdout.splitlines()]

    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert len(steps) > 15  # lock, ledger, tags, artefact, row, aliases: it was killed at each
    for step in steps:
        # the old champion or the new one, and the same one for everybody
        aliases, champion = after if step["ledger"] == after[1] else before
        assert (step["ledger"], step["scored_by"], step["aliases"]) == (champion, champion, aliases), step
    assert {step["ledger"] for step in steps[:-1]} == {before[1], after[1]}, "never killed on both sides"
    assert any(step["moved"] for step in steps), "no kill left an alias to be put right"
    # However often it was begun, it happened once.
    rows = release.read(warehouse, small_case.name)
    assert len(rows) == rows_before + 1
