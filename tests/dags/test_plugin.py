"""The status page: readable when empty, and nothing that a source wrote reaches the browser as markup."""

import os
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

# In a process of its own: Airflow reads its configuration when it is imported.
CHECK = """
from datetime import UTC, datetime
import hrloop_airflow as plugin

empty = {name: [] for name in ("rows", "steps", "gate_failures", "milestones", "champions", "metrics",
                               "decisions", "reviews")}
page = plugin.render(empty)
assert "None yet" in page and "<table" not in page

evil = "<script>alert(1)</script>' onmouseover='x"
as_of = datetime(2026, 9, 1, 6, tzinfo=UTC)
page = plugin.render(empty | {
    "gate_failures": [{"table_name": evil, "observed": 94.0, "field": None}],
    "steps": [{"as_of": as_of, "step": "gate", "use_case": "*", "state": "failed",
               "summary": {"reason": evil}},
              {"as_of": as_of, "step": "decisions", "use_case": evil, "state": "done", "summary": {}}],
})
assert "<script" not in page and "' onmouseover='" not in page
assert "2026-09-01T06:00:00Z" in page and "94" in page and 'class=number' in page

assert plugin.HRLoopPlugin.fastapi_apps[0]["app"] is plugin.app
paths = [route.path for route in plugin.app.routes]
assert paths == ["/status"], paths  # no documentation pages, which would be public
"""


def test_the_page_escapes_everything_and_is_the_only_route(tmp_path):
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(PLUGINS)}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
