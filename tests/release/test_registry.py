"""Versions on a real MLflow server: what a proposal registers, and that only that is ever loaded."""

import json
import os

import mlflow
import numpy as np
import pandas as pd
import pytest
from hrloop import release
from hrloop.evaluation.metrics import Interval
from hrloop.release import Finding, NoChampion, RegistryError, ReleaseRefused, UnreadableModel
from hrloop.release.registry import digest_of, frame_digest
from mlflow.exceptions import MlflowException

WORDS = "8 % fewer wrong recommendations on 412 matured decisions.\n\n- Experience counts for less."


def finding(**changes) -> Finding:
    given = {
        "verdict": "promote",
        "words": WORDS,
        "reasons": ("better",),
        "metrics": {"brier": Interval(0.2, 0.18, 0.22, 412)},
    }
    return Finding(**given | changes)


@pytest.fixture
def propose(warehouse, registry, small_case, decided, fitted, as_of):
    def make(seed=1, **changes):
        return release.propose(
            warehouse, registry, small_case, fitted(seed), finding(**changes), decided(seed=seed), as_of
        )

    return make


def test_a_proposal_is_a_version_with_its_evidence(propose, registry, small_case, decided, mlflow_settings):
    assert propose() == 1
    version = registry.version(small_case.name, 1)
    assert version.description == WORDS
    assert version.tags["approval.status"] == "requested"
    assert version.tags["approval.requested_at"] == "2026-10-01T06:00:00Z"
    assert "approval.by" not in version.tags
    assert registry.aliases(small_case.name) == {"challenger": 1}
    files = os.listdir(_artefact(registry, small_case, mlflow_settings))
    assert sorted(files) == ["MLmodel", "evidence.json", "fitted.json", "model.ubj"]
    kept = registry.load(small_case.name, 1).evidence
    assert kept["metrics"]["brier"] == {"value": 0.2, "low": 0.18, "high": 0.22, "n": 412}
    with registry.client() as client:
        run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["brier"] == 0.2
    assert run.data.metrics["brier.low"] == 0.18
    assert run.data.params["as_of"] == "2026-10-01T06:00:00Z"
    assert run.data.params["labels.observed"] == "600"
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == frame_digest(decided())
    assert json.loads(data.dataset.source)["as_of"] == "2026-10-01T06:00:00Z"
    assert json.loads(data.dataset.profile) == {"num_rows": 600, "observed_labels": 600}


def test_what_is_loaded_is_what_was_fitted(propose, registry, small_case, fitted, cases):
    propose()
    frame, expected = cases(), fitted().probability(cases())
    loaded = registry.load(small_case.name, 1).fitted
    assert np.array_equal(loaded.probability(frame), expected)
    # and by MLflow's own way
    with registry.client():
        mlflow.set_tracking_uri(registry.tracking_uri)
        try:
            model = mlflow.pyfunc.load_model(f"models:/{small_case.name}/1")
        finally:
            mlflow.set_tracking_uri(None)
    assert [column.name for column in model.metadata.signature.inputs] == small_case.feature_names
    assert np.array_equal(model.predict(frame[small_case.feature_names])["probability"], expected)


def test_a_proposal_is_made_once_and_a_killed_attempt_leaves_nothing(
    propose, registry, small_case, monkeypatch
):
    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry._client, "create_model_version", die)
    with pytest.raises(KeyboardInterrupt):
        propose()
    assert registry.versions(small_case.name) == []
    monkeypatch.undo()
    assert propose() == propose() == 1
    with registry.client() as client:
        experiment = client.get_experiment_by_name(small_case.name).experiment_id
        assert len(client.search_runs([experiment])) == 1
        assert len(client.search_logged_models([experiment])) == 1


def test_words_too_many_for_mlflow_are_cut_and_kept_beside_the_model(propose, registry, small_case):
    words = WORDS + 100 * f"\n- {'Another feature counts for less.' * 3}"
    propose(words=words)
    description = registry.version(small_case.name, 1).description
    assert len(description) == 5000
    assert description.startswith(WORDS)
    assert description.endswith("all of it is in evidence.json beside the model.")
    assert registry.load(small_case.name, 1).evidence["words"] == words


def test_a_verdict_not_to_promote_is_no_proposal(propose, registry, small_case):
    with pytest.raises(ReleaseRefused, match="verdict is keep"):
        propose(verdict="keep")
    assert registry.versions(small_case.name) == []


def test_numbers_that_are_none_become_null():
    got = finding(
        metrics={"auc": Interval(float("nan"), -np.inf, np.float64(1), 3)},
        details={"when": pd.Timestamp("2026-10-01T06:00Z"), "n": np.int64(3), "flags": {True: (1, None)}},
    ).as_json()
    assert got["metrics"]["auc"] == {"value": None, "low": None, "high": 1.0, "n": 3}
    assert got["details"] == {"when": "2026-10-01T06:00:00Z", "n": 3, "flags": {"True": [1, None]}}
    with pytest.raises(TypeError, match="a object, which JSON cannot hold"):
        finding(details={"x": object()}).as_json()


def test_no_champion_yet(registry, small_case, propose):
    with pytest.raises(NoChampion, match="no champion yet"):
        release.champion(registry, small_case)
    propose()
    with pytest.raises(NoChampion, match="no champion yet"):
        release.champion(registry, small_case)
    with pytest.raises(RegistryError, match="has no version 7"):
        registry.version(small_case.name, 7)


def test_an_artefact_that_was_changed_is_refused(propose, registry, small_case, mlflow_settings, tampered):
    propose()
    folder = _artefact(registry, small_case, mlflow_settings)
    before = digest_of(folder)
    for file in ("model.ubj", "fitted.json", "evidence.json"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content + b" ")
        with pytest.raises(UnreadableModel, match=f"registered with SHA-256 {before}.*hrloop rollback"):
            registry.load(small_case.name, 1)
        (folder / file).write_bytes(content)
    # Whoever changes the tag as well is found out by the ledger's digest.
    (folder / "evidence.json").write_text("{}")
    tampered(small_case.name, 1, {"artefact.sha256": digest_of(folder)})
    registry.load(small_case.name, 1)
    with pytest.raises(UnreadableModel, match=before):
        registry.load(small_case.name, 1, before)
    (folder / "model.ubj").unlink()
    with pytest.raises(UnreadableModel):
        registry.load(small_case.name, 1)


def test_a_registry_acts_as_its_own_user_and_leaves_no_credentials(registry, viewer, propose, small_case):
    propose()
    with pytest.raises(MlflowException, match="Permission denied"):
        viewer.tag(small_case.name, 1, {"approval.status": "approved"})
    assert viewer.version(small_case.name, 1).tags["approval.status"] == "requested"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    assert viewer._password not in repr(viewer)


def test_frame_digest_names_content():
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None]})
    assert frame_digest(frame) == frame_digest(frame.copy())
    others = [frame.iloc[::-1], frame.rename(columns={"a": "c"}), frame.assign(a=[1.0, 2.0]), frame.iloc[:1]]
    assert len({frame_digest(other) for other in [frame, *others]}) == 5


def _artefact(registry, use_case, settings):
    """The folder on the server's disk that holds the files of version 1."""
    with registry.client() as client:
        uri = client.get_model_version_download_uri(use_case.name, "1")
    model = uri.removesuffix("/artifacts").rsplit("/", 1)[-1]
    (found,) = (settings.home / "artifacts").glob(f"*/models/{model}/artifacts")
    return found
