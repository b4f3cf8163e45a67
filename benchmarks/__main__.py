"""``make bench``: speed beside a reference measured in the same run; exits 1 where a limit does not hold.

It uses an installation of its own in a temporary folder, so that figures do not depend on what is in the
warehouse.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from hrloop import services, usecase
from hrloop.settings import PROJECT, Settings
from hrloop.warehouse import EmbeddedServer, Warehouse, open_warehouse
from rich.console import Console
from rich.table import Table

from benchmarks import (
    Row,
    calibration,
    completeness,
    decisions,
    evaluation,
    growth,
    learning,
    load,
    replay,
    warehouse,
)

SIZES = (10_000, 100_000)


def measure(sizes: list[int], progress: Console) -> list[Row]:
    """All benchmarks at each size, and how their times grow."""
    use_case = usecase.load("recruitment", PROJECT)
    rows: list[Row] = []

    def add(what: str, run: Callable[[], list[Row]]) -> None:
        progress.print(f"{what} …")
        rows.extend(run())

    with _installation() as (wh, settings):
        add("a replayed month", lambda: replay.run(wh, use_case))
        for n in sizes:
            add(f"load, {n:,} rows", lambda n=n: load.run(wh, n))
            add(f"completeness, {n:,} rows", lambda n=n: completeness.run(wh, n))
            add(f"training and scoring, {n:,} rows", lambda n=n: learning.run(use_case, n))
            add(f"paired evaluation, {n:,} applications", lambda n=n: evaluation.run(use_case, n))
            add(f"daily calibration, {n:,} applications", lambda n=n: calibration.run(use_case, n))
            add(f"warehouse, {n:,} applications", lambda n=n: warehouse.run(wh, use_case, n))
        progress.print("a champion on an MLflow server …")
        registry = decisions.serve(wh, settings, use_case)
        add("single decisions", lambda: decisions.single(wh, registry, use_case))
        add("decisions with reasons", lambda: decisions.explained(wh, settings, registry, use_case))
        for n in sizes:
            add(f"decisions, {n:,} cases", lambda n=n: decisions.run(wh, settings, registry, use_case, n))
    return [*rows, *growth([row for row in rows if row.unit != "GB"])]


@contextmanager
def _installation() -> Iterator[tuple[Warehouse, Settings]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", database_url=None)
        wh = open_warehouse(settings)
        try:
            yield wh, settings
        finally:
            services.stop(settings)
            wh.dispose()
            EmbeddedServer.of(settings).stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="applications (default: 10,000 and 100,000)"
    )
    options = parser.parse_args()
    rows = measure(options.sizes, Console(stderr=True))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _show(rows)
    sys.exit(0 if all(row.holds for row in rows) else 1)


def _show(rows: list[Row]) -> None:
    table = Table("benchmark", "n", "ours", "reference", "unit", "ratio", "limit", "holds")
    for row in rows:
        limit = "–" if row.limit is None else f"{'≥' if row.unit == 'rows/s' else '≤'} {row.limit:g}"
        table.add_row(
            row.name, f"{row.n:,}", f"{row.ours:,.4g}", f"{row.reference:,.4g}", row.unit,
            f"{row.ratio:.2f}", limit, "yes" if row.holds else "NO",
        )  # fmt: skip
    console = Console(width=130)
    console.print(table)
    console.print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
