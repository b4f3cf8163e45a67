"""``make demo``: a company's past, a first champion, a bad batch, its redelivery, and outcomes coming back.

Everything is real: Postgres, the DAGs, dbt, Great Expectations, MLflow. Only the company is made up, and
its model owner, whose approval the demo gives in their name and says so. A second run changes nothing.
"""

import sys
import time
from datetime import UTC, datetime

from hrloop import as_of as moments
from hrloop import practice, release, services, settings
from hrloop.cli.operate import prepare, show
from hrloop.cli.practice import decided
from hrloop.rhythms import Loop
from hrloop.rhythms.status import status
from hrloop.warehouse import EmbeddedServer, steps
from rich.console import Console

from demo.dags import Dags

USE_CASE = "recruitment"
PAST_MONTHS = 34  # 2023-10 to 2026-07; the next month's applications arrive incomplete
FIRST = datetime(2026, 8, 1, 6, tzinfo=UTC)
BAD = datetime(2026, 9, 1, 6, tzinfo=UTC)
CORRECTED = datetime(2026, 9, 2, 6, tzinfo=UTC)
OUTCOMES = datetime(2026, 10, 1, 6, tzinfo=UTC)

INTAKE = ("ingest", "quality_gate", "warehouse")
console = Console(width=120, highlight=False)


class Demo:
    """The loop, the DAGs, and a clock that tells how long each part took."""

    def __init__(self, loop: Loop):
        self.loop = loop
        self.began = time.monotonic()
        self.dags: Dags | None = None

    def say(self, words: str) -> None:
        console.print(f"[dim]{time.monotonic() - self.began:5.0f} s[/dim]  {words}")

    def run(self, as_of: datetime, *dag_ids: str) -> None:
        """Run DAGs in order; stop the demo where one fails that should not."""
        for dag_id in dag_ids:
            self.say(f"DAG {dag_id}, as of {moments.text(as_of)}")
            if not self.dags.run(dag_id, as_of):
                raise RuntimeError(f"the DAG {dag_id} failed at {moments.text(as_of)}; see {self.dags.log}")

    def set_up(self) -> None:
        loop = self.loop
        self.say("Postgres: databases, roles, tables")
        prepare(loop)
        self.say("MLflow: tracking server and model registry")
        services.start_mlflow(loop.settings, loop.warehouse, report=self.say)
        self.say("Airflow: metadata and DAGs")
        self.dags = Dags(loop.settings, loop.warehouse)

    def past(self) -> None:
        """Three years of exports, and the first champion."""
        self.say(f"The practice company: {PAST_MONTHS} months of exports")
        practice.history(self.loop.settings, months=PAST_MONTHS)
        self.run(FIRST, *INTAKE)
        self.run(FIRST, "training")
        self.approve()
        self.run(FIRST, "training", "decisions", "milestones")

    def approve(self) -> None:
        """Approve the proposed version in the name of the practice company's model owner."""
        loop = self.loop
        registry = release.connect(loop.settings, user=services.OWNER)
        use_case = loop.use_case(USE_CASE)
        for version in registry.requested(USE_CASE):
            release.approve(
                registry, use_case, version, "Better than the base rate on held-out outcomes (demo)."
            )
            self.say(f"The model owner approves {USE_CASE} version {version}")

    def next_month(self, month: str) -> None:
        """The company lives on, following the loop's decisions, and exports what happened."""
        self.say(f"The practice company answers the decisions on the applications of {month}")
        practice.answer(self.loop.settings, month, decided(self.loop.warehouse))

    def bad_batch(self) -> None:
        """A batch that is not complete stops everything behind it; its redelivery goes on."""
        self.run(BAD, "ingest")
        self.say(f"DAG quality_gate, as of {moments.text(BAD)}")
        if self.dags.run("quality_gate", BAD) or self.dags.run("warehouse", BAD):
            raise RuntimeError("the incomplete batch went through the gate")
        with self.loop.warehouse.engine("engine").connect() as connection:
            behind = [steps.state(connection, "warehouse", steps.EVERY_USE_CASE, BAD)]
            behind.append(steps.state(connection, "decisions", USE_CASE, BAD))
        if any(behind):
            raise RuntimeError(f"something ran behind the failed gate: {behind}")
        self.say("The gate failed, as it should, and nothing behind it ran")
        self.run(CORRECTED, *INTAKE, "decisions", "milestones")

    def summary(self) -> None:
        show(status(self.loop.warehouse), console)
        self.say(f"Done. The logs are in {self.dags.log}; `make up` opens the pages.")


def main() -> None:
    loop = Loop(settings.load())
    running = {service.name for service in services.status(loop.settings) if service.state == "running"}
    postgres_was_up = loop.settings.database_url or EmbeddedServer.of(loop.settings).running()
    demo = Demo(loop)
    try:
        demo.set_up()
        demo.past()
        demo.next_month("2026-07")
        demo.bad_batch()
        demo.next_month("2026-08")
        demo.run(OUTCOMES, *INTAKE, "decisions", "milestones")
        demo.summary()
    except (ValueError, RuntimeError) as error:
        sys.exit(f"demo: {error}")
    finally:
        if demo.dags:
            demo.dags.close()
        if "mlflow" not in running:
            services.stop(loop.settings, "mlflow")
        if not postgres_was_up:
            loop.warehouse.dispose()
            EmbeddedServer.of(loop.settings).stop()


if __name__ == "__main__":
    main()
