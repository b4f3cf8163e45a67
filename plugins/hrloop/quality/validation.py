"""Great Expectations at work: suites on Postgres, results on disk, data docs to look at.

GX is given its data context in memory; validation results and data docs are written below the installation's
``home``. It reads as the loader, in read-only sessions, and nothing of what it stores holds a credential.
"""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import great_expectations as gx
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import DataContextConfig
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier
from great_expectations.expectations.expectation import Expectation

from hrloop import as_of as moment
from hrloop.settings import Settings
from hrloop.warehouse import Warehouse

SITE = "gate"
RUNS_KEPT = 30  # as_ofs in the data docs; the verdicts of all times are in loop.gate_results
_NUMBER = "number"  # in the meta of an expectation: its place, as GX keeps no order
_COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0}  # no value of a row leaves raw


class ValidationError(RuntimeError):
    """An expectation could not be evaluated, so nothing is known about the batches: none of them passes."""


@dataclass(frozen=True)
class Check:
    """What to hold against one selection of rows: a suite by its name, and the name of the selection."""

    suite: str
    rows: str
    query: str
    expectations: list[Expectation]


def docs_folder(settings: Settings) -> Path:
    """Where the data docs are; ``index.html`` is the page to open."""
    return settings.home / "data_docs"


class Session:
    """Evaluates checks, as of one time. ``data_docs`` are renewed once, when the session ends well."""

    def __init__(self, wh: Warehouse, settings: Settings, as_of: datetime, data_docs: bool = True) -> None:
        self.settings, self.as_of, self.data_docs = settings, as_of, data_docs
        self.context = gx.get_context(project_config=_config(settings))
        self.source = self.context.data_sources.add_postgres(
            "warehouse",
            # GX would read a dollar sign as the beginning of a variable's name.
            connection_string=wh.url("loader").render_as_string(hide_password=False).replace("$", r"\$"),
            kwargs={"connect_args": {"options": "-c timezone=UTC -c default_transaction_read_only=on"}},
        )
        self.pages: list = []

    def __enter__(self) -> "Session":
        return self

    def close(self) -> None:
        """Let go of the database."""
        self.source.get_engine().dispose()
        if self.source.execution_engine:  # which has connections of its own
            self.source.execution_engine.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None and self.pages:
            _forget_old_runs(self.settings)
            if self.data_docs:
                self.context.build_data_docs(site_names=[SITE], resource_identifiers=self.pages)

    def run(self, name: str, checks: list[Check]) -> list[list[dict]]:
        """Evaluate checks in one checkpoint.

        Returns for every check, in order, ``success`` and ``result`` of each of its expectations. Raises
        ValidationError when one of them met an error.
        """
        suites = {check.suite: self._suite(check) for check in checks}
        definitions = [
            self.context.validation_definitions.add(
                gx.ValidationDefinition(
                    name=f"{name} {check.rows}",
                    data=self.source.add_query_asset(check.rows, query=check.query).add_batch_definition(
                        "rows"
                    ),
                    suite=suites[check.suite],
                )
            )
            for check in checks
        ]
        checkpoint = self.context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=definitions, result_format=_COUNTS_ONLY)
        )
        run_name = f"{moment.text(self.as_of)} {name}".replace(":", "")  # names a folder, too
        outcome = checkpoint.run(run_id=RunIdentifier(run_name=run_name, run_time=self.as_of))
        self.pages += [*outcome.run_results, *map(ExpectationSuiteIdentifier, suites)]
        return [
            _in_order(check, validation.results)
            for check, validation in zip(checks, outcome.run_results.values(), strict=True)
        ]

    def _suite(self, check: Check) -> gx.ExpectationSuite:
        for number, expectation in enumerate(check.expectations):
            expectation.meta = {**(expectation.meta or {}), _NUMBER: number}
        return self.context.suites.add_or_update(
            gx.ExpectationSuite(check.suite, expectations=check.expectations)
        )


def _in_order(check: Check, results: list) -> list[dict]:
    """The results of a check in the order of its expectations. Raises ValidationError for an error in one."""
    by_number = {result.expectation_config.meta[_NUMBER]: result for result in results}
    ordered = [by_number[number] for number in range(len(check.expectations))]
    for result in ordered:
        problem = _exception(result.exception_info or {})
        if problem:
            raise ValidationError(f"{check.suite}: {result.expectation_config.type}: {problem}")
    return [{"success": result.success, "result": result.result} for result in ordered]


def _exception(info: dict) -> str | None:
    """The message of an exception that GX caught: it notes one per expectation, or one per metric."""
    if "raised_exception" in info:
        return info.get("exception_message") if info["raised_exception"] else None
    return next((message for part in info.values() if (message := _exception(part))), None)


def _config(settings: Settings) -> DataContextConfig:
    """A data context in memory whose validation results and data docs are files."""

    def files(folder: Path) -> dict:
        return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}

    memory = {"class_name": "InMemoryStoreBackend"}
    return DataContextConfig(
        expectations_store_name="expectations",
        validation_results_store_name="results",
        checkpoint_store_name="checkpoints",
        stores={
            # Kept, so that the page of a suite stays when a later run has nothing for it to judge.
            "expectations": {
                "class_name": "ExpectationsStore",
                "store_backend": files(settings.home / "gate" / "suites"),
            },
            "checkpoints": {"class_name": "CheckpointStore", "store_backend": memory},
            "validation_definition_store": {
                "class_name": "ValidationDefinitionStore",
                "store_backend": memory,
            },
            "results": {
                "class_name": "ValidationResultsStore",
                "store_backend": files(_results_folder(settings)),
            },
        },
        data_docs_sites={
            SITE: {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": files(docs_folder(settings)),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
        analytics_enabled=False,
        progress_bars={"globally": False},
    )


def _results_folder(settings: Settings) -> Path:
    return settings.home / "gate" / "results"


def _forget_old_runs(settings: Settings) -> None:
    """Keep the latest runs only: GX reads all of them whenever it renews its index page."""
    runs = {path.name for path in _results_folder(settings).glob("*/*/*") if path.is_dir()}
    for name in sorted(runs)[:-RUNS_KEPT]:
        for folder in (_results_folder(settings), docs_folder(settings) / "validations"):
            for path in folder.glob(f"*/*/{name}"):
                shutil.rmtree(path)
