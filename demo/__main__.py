"""``make demo``: a company's past, a first champion, a bad batch, outcomes coming back, and the four rhythms.

Everything is real: Postgres, the DAGs, dbt, Great Expectations, MLflow. Only the company is made up, and
its model owner, whose approval the demo gives in their name and says so. A second run changes nothing.
"""

import sys
import time
from datetime import UTC, datetime

from hrloop import as_of as moments
from hrloop import practice, release, services, settings
from hrloop.cli.operate import prepare, show
from hrloop.cli.practice import alerted, decided, reviewed
from hrloop.rhythms import Loop, verdict_of
from hrloop.rhythms.status import status
from hrloop.warehouse import EmbeddedServer, steps
from rich.console import Console
from rich.table import Table

from demo.dags import Dags

PAST_MONTHS = 34  # 2023-10 to 2026-07; the next month's applications arrive incomplete
FIRST = datetime(2026, 8, 1, 6, tzinfo=UTC)
BAD = datetime(2026, 9, 1, 6, tzinfo=UTC)
CORRECTED = datetime(2026, 9, 2, 6, tzinfo=UTC)
OUTCOMES = datetime(2026, 10, 1, 6, tzinfo=UTC)
VERDICT = datetime(
    2026, 11, 1, 6, tzinfo=UTC
)  # the experiment that begins with OUTCOMES has had its four weeks

REVIEWED = 400  # decisions of a use case that people get round to in a month
INTAKE = ("ingest", "quality_gate", "warehouse")
console = Console(width=120, highlight=False)


class Demo:
    """The loop, the DAGs, and a clock that tells how long each part took."""

    def __init__(self, loop: Loop):
        self.loop = loop
        self.began = time.monotonic()
        self.dags: Dags | None = None
        self.verdicts: list[tuple[str, ...]] = []

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
        self.run(FIRST, "weekly_retraining")
        self.approve(FIRST)
        self.run(FIRST, "decisions", "milestones")

    def approve(self, as_of: datetime) -> None:
        """Approve what was proposed in the name of the practice company's model owners, and release it."""
        loop = self.loop
        registry = release.connect(loop.settings, user=services.OWNER)
        approved = []
        for name, use_case in loop.use_cases().items():
            for version in registry.requested(name):
                release.approve(registry, use_case, version, "Its evidence is convincing (demo).")
                approved.append(f"{name} version {version}")
        if approved:
            self.say(f"The model owners approve {', '.join(approved)}")
            self.run(as_of, "weekly_retraining")

    def next_month(self, month: str) -> None:
        """The company lives on, following the loop's decisions, and exports what happened."""
        self.say(f"The practice company answers the decisions on the applications of {month}")
        warehouse, use_cases = self.loop.warehouse, self.loop.use_cases().values()
        practice.answer(
            self.loop.settings, month, decided(warehouse, use_cases), alerted(warehouse, use_cases)
        )

    def review(self, as_of: datetime) -> None:
        """Recruiters and HR partners say what they think of the decisions that the round sent to them."""
        for name, use_case in self.loop.use_cases().items():
            number = reviewed(self.loop.warehouse, use_case, as_of, REVIEWED)
            self.say(f"People review {number} decisions of {name}")

    def rhythm(self, as_of: datetime, dag_id: str, step: str | None = None) -> None:
        """Run a rhythm for all use cases, and tell its verdicts with the reasons."""
        self.run(as_of, dag_id)
        for name in self.loop.use_cases():
            found = verdict_of(self.loop, step or dag_id, as_of, name)
            kind = found.get("verdict", "moved" if found.get("moved") else "agreed") or "goes on"
            reasons = found.get("reasons") or found.get("moved") or []
            self.verdicts.append((f"{as_of:%Y-%m-%d}", name, step or dag_id, kind, "; ".join(reasons)))
            self.say(f"  → {name}: [bold]{kind.replace('_', ' ')}[/bold]: {'; '.join(reasons) or '–'}")

    def bad_batch(self) -> None:
        """A batch that is not complete stops everything behind it; its redelivery goes on."""
        self.run(BAD, "ingest")
        self.say(f"DAG quality_gate, as of {moments.text(BAD)}")
        if self.dags.run("quality_gate", BAD) or self.dags.run("warehouse", BAD):
            raise RuntimeError("the incomplete batch went through the gate")
        with self.loop.warehouse.engine("engine").connect() as connection:
            behind = [steps.state(connection, "warehouse", steps.EVERY_USE_CASE, BAD)]
            behind += [steps.state(connection, "decisions", name, BAD) for name in self.loop.use_cases()]
        if any(behind):
            raise RuntimeError(f"something ran behind the failed gate: {behind}")
        self.say("The gate failed, as it should, and nothing behind it ran")
        self.run(CORRECTED, *INTAKE, "decisions", "milestones")

    def outcomes(self) -> None:
        """Outcomes come back, and each rhythm looks at them."""
        self.run(OUTCOMES, *INTAKE)
        self.rhythm(OUTCOMES, "reconcile_registry")
        self.rhythm(OUTCOMES, "daily_calibration")
        self.rhythm(OUTCOMES, "weekly_retraining")
        self.rhythm(OUTCOMES, "monthly_reweighting")
        self.approve(OUTCOMES)
        self.rhythm(OUTCOMES, "release_watch")
        self.rhythm(OUTCOMES, "quarterly_champion_challenger")
        self.run(OUTCOMES, "decisions", "milestones")
        self.review(OUTCOMES)
        self.next_month("2026-09")
        self.run(VERDICT, *INTAKE)
        self.rhythm(VERDICT, "quarterly_champion_challenger", step="experiment_look")
        self.rhythm(VERDICT, "release_watch")
        self.run(VERDICT, "decisions", "milestones")

    def summary(self) -> None:
        table = Table("as of", "use case", "rhythm", "verdict", "why", title="The rhythms")
        for row in self.verdicts:
            table.add_row(*row)
        console.print(table)
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
        demo.review(FIRST)
        demo.next_month("2026-07")
        demo.bad_batch()
        demo.review(CORRECTED)
        demo.next_month("2026-08")
        demo.outcomes()
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
