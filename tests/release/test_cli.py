"""`hrloop approve` and `reject` as a person types them: in their own name, with a password of their own."""

import time

import pytest
from hrloop import release, services
from hrloop.cli import app
from hrloop.cli import release as commands
from hrloop.release import Finding, RegistryError
from hrloop.rhythms import Loop
from typer.testing import CliRunner


@pytest.fixture
def run(warehouse, registry, small_case, decided, fitted, as_of, mlflow_settings, monkeypatch):
    """Runs a command about a version that waits for approval."""
    finding = Finding("promote", "words", ("better",))
    release.propose(warehouse, registry, small_case, fitted(), finding, decided(), as_of)
    loop = Loop(mlflow_settings, warehouse, registry)
    monkeypatch.setattr(loop, "use_case", lambda _: small_case)
    monkeypatch.setattr(commands, "loop", lambda: loop)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def command(*words, typed=(), **environment):
        return CliRunner().invoke(app, words, input="\n".join([*typed, ""]), env=environment)

    return command


def test_asked_for_name_and_password_and_promoted_in_that_name(run, warehouse, small_case, mlflow_settings):
    password = services.mlflow_password(mlflow_settings, services.OWNER)
    wrong = run("approve", small_case.name, "1", "--reason", "Good.", typed=["owner", "a guess"])
    assert isinstance(wrong.exception, RegistryError)
    assert "does not know 'owner' with this password" in str(wrong.exception)
    assert release.read(warehouse, small_case.name) == []

    done = run("approve", small_case.name, "1", "--reason", "Good.", typed=["owner", password])
    assert done.exit_code == 0, done.exception
    assert "version 1 is approved by owner" in done.output
    assert "Version 1 is champion" in done.output
    assert password not in done.output
    (row,) = release.read(warehouse, small_case.name)
    assert (row.approved_by, row.approval_reason) == ("owner", "Good.")


def test_name_and_password_by_the_environment(run, warehouse, small_case, mlflow_settings):
    login = {
        "MLFLOW_TRACKING_USERNAME": services.VIEWER,
        "MLFLOW_TRACKING_PASSWORD": services.mlflow_password(mlflow_settings, services.VIEWER),
    }
    refused = run("reject", small_case.name, "1", "--reason", "Mine.", **login)
    assert "cannot be rejected by 'viewer'" in str(refused.exception)
    login["MLFLOW_TRACKING_USERNAME"] = services.OWNER
    login["MLFLOW_TRACKING_PASSWORD"] = services.mlflow_password(mlflow_settings, services.OWNER)
    done = run("reject", small_case.name, "1", "--reason", "Hurts part-time staff.", **login)
    assert "is rejected by owner: Hurts part-time staff." in " ".join(done.output.split())
    assert [row.kind for row in release.read(warehouse, small_case.name)] == ["reject"]


def test_one_command_rolls_back_at_once(run, warehouse, registry, owner, small_case, decided, fitted, as_of):
    release.approve(owner, small_case, 1, "Good.")
    release.promote(warehouse, registry, small_case, 1, as_of)
    finding = Finding("promote", "words", ("better",), compared_with=1)
    release.propose(warehouse, registry, small_case, fitted(2), finding, decided(seed=2), as_of, "monthly")
    release.approve(owner, small_case, 2, "Good.")
    release.promote(warehouse, registry, small_case, 2, as_of)
    rollback = ("rollback", small_case.name, "--by", "Ada", "--reason", "Complaints.", "--version", "2")
    for _ in range(2):
        began = time.process_time()
        done = run(*rollback)
        assert time.process_time() - began < 5, "seconds, not minutes"
        assert "small_case: version 1 is champion again, in place of 2." in " ".join(done.output.split())
    assert registry.aliases(small_case.name) == {"champion": 1}
    assert release.serving(warehouse, registry, small_case).version == 1
    *_, row = release.read(warehouse, small_case.name)
    assert (row.kind, row.approved_by, row.approval_reason) == ("roll_back", "Ada", "Complaints.")


def test_reconcile_brings_a_rejection_out_of_mlflow(run, warehouse, small_case, owner):
    by_hand = {"approval.reason": "Hurts part-time staff.", "approval.status": "rejected"}
    owner.tag(small_case.name, 1, by_hand)
    told = " ".join(run("reconcile", small_case.name).output.split())
    assert "version 1 is rejected by owner: Hurts part-time staff." in told
    assert "challenger was 1, on which a verdict has fallen" in told
    assert "Registry and ledger agree." in run("reconcile", small_case.name).output
