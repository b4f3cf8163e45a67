"""kill -9 before every write of a promotion and of a roll-back: ledger, alias and scoring agree."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hrloop import release, services
from hrloop.release import Finding


@pytest.mark.parametrize(
    ("what", "before", "after", "moved"),
    [
        # killed before the ledger's row, then before each alias (previous, champion, challenger), then before
        # either tag of the change note and before its rows; then not.
        # ``moved``: the aliases that the next reader had to put right
        (
            "promote",
            {"champion": 1, "challenger": 2},
            {"champion": 2, "previous": 1},
            [0, 3, 2, 1, 0, 0, 0, 0],
        ),
        ("rollback", {"champion": 2, "previous": 1}, {"champion": 1}, [0, 2, 1, 0, 0, 0, 0]),
    ],
)
def test_killed_anywhere_all_agree(
    warehouse,
    registry,
    owner,
    small_case,
    decided,
    fitted,
    as_of,
    mlflow_settings,
    what,
    before,
    after,
    moved,
):
    for seed, champion in ((1, None), (2, 1)):
        finding = Finding("promote", "words", compared_with=champion)
        version = release.propose(
            warehouse, registry, small_case, fitted(seed), finding, decided(), as_of, f"rhythm {seed}"
        )
        release.approve(owner, small_case, version, "Measured well.")
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

    assert [step["killed"] for step in steps] == [True] * (len(moved) - 1) + [False]
    assert [step["moved"] for step in steps] == moved
    for number, step in enumerate(steps):
        # the old champion until the row is there, the new one from then on, and the same one for everybody
        aliases = after if number else before
        assert step["aliases"] == aliases, step
        assert step["ledger"] == step["scored_by"] == aliases["champion"], step
        assert len(step["rows"]) == rows_before + bool(number), step
