"""``make bench``: speed beside a reference measured in the same run; exits 1 where a limit does not hold.

Each benchmark uses an installation of its own in a temporary folder, so figures do not depend on what is in
the warehouse.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from hrloop.settings import Settings
from hrloop.warehouse import EmbeddedServer, open_warehouse
from rich.console import Console
from rich.table import Table

from benchmarks import Row, completeness, learning, load


def measure(n: int, progress: Console) -> list[Row]:
    """All benchmarks at n rows."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", database_url=None)
        warehouse = open_warehouse(settings)
        try:
            for name, run in (
                ("load with merge by key", lambda: load.run(warehouse, n)),
                ("completeness check", lambda: completeness.run(warehouse, n)),
                ("training and scoring", lambda: learning.run(n)),
            ):
                progress.print(f"{name}, {n:,} rows …")
                rows += run()
        finally:
            warehouse.dispose()
            EmbeddedServer.of(settings).stop()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows per benchmark (default: one million)"
    )
    options = parser.parse_args()
    rows = measure(options.rows, Console(stderr=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # ru_maxrss is in KiB on Linux
    if options.json:
        print(
            json.dumps({"rows": [asdict(row) for row in rows], "peak_memory_gib": round(peak, 2)}, indent=2)
        )
    else:
        table = Table("benchmark", "n", "ours", "reference", "unit", "ratio", "limit", "holds")
        for row in rows:
            table.add_row(
                row.name, f"{row.n:,}", f"{row.ours:,.4g}", f"{row.reference:,.4g}", row.unit,
                f"{row.ratio:.2f}", row.limit if isinstance(row.limit, str) else f"{row.limit}",
                "yes" if row.holds else "NO",
            )  # fmt: skip
        console = Console(width=130)
        console.print(table)
        console.print(
            f"Peak memory of this process {peak:.2f} GiB. Python {platform.python_version()},"
            f" {os.cpu_count()} cores."
        )
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
