"""Intake: exports into raw, through the gate, into the warehouse. These steps serve every use case."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import text

from hrloop import as_of as moment
from hrloop.rhythms import Loop, Refused, locked, recorded
from hrloop.usecase import UseCase
from hrloop.warehouse import steps
from hrloop.warehouse.steps import EVERY_USE_CASE

_ARRIVED = text("""
    select count(*) filter (where status <> 'refused') as batches, coalesce(sum(rows_in), 0)::bigint as rows,
        count(*) filter (where status = 'refused') as refused
    from loop.batches where arrived_at <= :as_of""")
ALONE = "intake"  # ingest, gate and build read and move the same rows: one of them at a time


class GateFailed(Refused):
    """The gate stopped an as_of. The message says which field of which table, by how much, and what to do."""


def ingest(loop: Loop, as_of: datetime) -> dict:
    """Take the files that arrived by ``as_of`` and were not taken yet into ``raw``.

    On record is all that has arrived by then, which a second run does not change; what this run took and
    refused is returned besides.
    """
    from hrloop import sources

    with recorded(loop, "ingest", as_of, alone=ALONE) as summary:
        report = sources.ingest(loop.warehouse, loop.settings, as_of)
        with loop.warehouse.engine("engine").connect() as connection:
            arrived = connection.execute(_ARRIVED, {"as_of": as_of}).mappings().one()
        summary.update(arrived)
    refused = [f"{file.file_name}: {file.reason}" for file in report.refused]
    return summary | {"taken": len(report.taken), "refused_files": refused, "waiting": report.waiting}


def gate(loop: Loop, as_of: datetime, data_docs: bool = True) -> dict:
    """Judge every batch that arrived by ``as_of`` and was not judged yet.

    ``data_docs``: whether to renew the gate's pages. Raises GateFailed, with the whole finding, after it went
    on record.
    """
    from hrloop import quality

    with recorded(loop, "gate", as_of, alone=ALONE) as summary:
        report = quality.gate(loop.warehouse, loop.settings, as_of, data_docs)
        summary.update(
            batches=len(report.batches), quarantined=report.quarantined, waiting=len(report.waiting)
        )
        if not report.passed:
            message = _explain(as_of, report.failures)
            raise GateFailed(message, summary | {"reason": message})
    return summary


def _explain(as_of: datetime, failures: list) -> str:
    """The findings as a data engineer needs them (table, file, field, by how much), and the way on."""
    return "\n".join(
        [
            f"The quality gate stopped as_of {moment.text(as_of)}: {len(failures)} check(s) failed.",
            *(f"- {failure.detail}" for failure in failures),
            "Nothing behind the gate runs for this as_of. The gate opens at the as_of that takes the"
            " corrected delivery. What to do: docs/runbooks/gate-failed.md.",
        ]
    )


def gate_all(loop: Loop, as_ofs: Iterable[datetime]) -> dict:
    """Judge several as_ofs, oldest first. One that fails holds up no other: {"passed": […], "failed": […]}.

    ``failed`` holds the messages of GateFailed.
    """
    verdicts: dict = {"passed": [], "failed": []}
    for as_of in sorted(as_ofs):
        try:
            gate(loop, as_of)
            verdicts["passed"].append(moment.text(as_of))
        except GateFailed as failure:
            verdicts["failed"].append(str(failure))
    return verdicts


def variables(loop: Loop) -> dict[str, object]:
    """dbt's variables beside as_of: by use case its milestones, actions and outcome parameters as they are
    declared, and the digest of the dbt project."""
    from hrloop import transform

    declared = {}
    for name, use_case in loop.use_cases().items():
        outcome, actions = use_case.outcome, use_case.decision.actions
        declared[name] = {
            **{parameter: threshold.value for parameter, threshold in outcome.parameters.items()},
            "milestones": list(outcome.milestones),
            "label_milestone": outcome.label_milestone,
            "positive_action": actions.positive,
            "negative_action": actions.negative,
        }
    return {"use_cases": declared, "project": transform.digest(loop.settings)}


def plan_build(loop: Loop, as_ofs: list[datetime]) -> dict:
    """What to build for these as_ofs: the warehouse stands at the highest as_of ever asked of it.

    Earlier ones are read out of its time columns, so the order of a backfill does not matter. Returns
    {"as_ofs": [text], "variables": {"as_of": text, "done": text, "use_cases": {…}}} and records that the
    build runs. ``done``: where the warehouse stands by the record, empty where nowhere: from there alone it
    may grow, as a build whose data tests failed in tasks of their own is not on record.
    """
    with loop.warehouse.engine("engine").begin() as connection:
        latest = steps.latest_done(connection, "warehouse")
        for as_of in as_ofs:
            steps.start(connection, "warehouse", EVERY_USE_CASE, as_of)
    highest = max([*as_ofs, latest] if latest else as_ofs)
    return {
        "as_ofs": [moment.text(as_of) for as_of in as_ofs],
        "variables": {
            "as_of": moment.text(highest),
            "done": moment.text(latest) if latest else "",
            **variables(loop),
        },
    }


def record_build(loop: Loop, plan: dict) -> dict:
    """Record that the warehouse was built as planned, for every as_of of the plan."""
    with loop.warehouse.engine("engine").begin() as connection:
        for as_of in plan["as_ofs"]:
            steps.finish(connection, "warehouse", EVERY_USE_CASE, moment.parse(as_of), {})
    return {"as_ofs": plan["as_ofs"], "stands_at": plan["variables"]["as_of"]}


def build(loop: Loop, *as_ofs: datetime, select: Sequence[str] = ()) -> dict:
    """Build the warehouse for these as_ofs, once, in this process (the DAG runs the same models as tasks).

    ``select``: dbt's selectors of what is built; empty for all.
    """
    from hrloop import transform

    with recorded(loop, "warehouse", max(as_ofs), alone=ALONE):
        plan = plan_build(loop, list(as_ofs))
        transform.build(loop.warehouse, loop.settings, plan["variables"], select)
        return record_build(loop, plan)


def refresh_decisions(loop: Loop, declaration: UseCase, as_of: datetime) -> None:
    """Bring the loop's decisions that were taken since the last build into the warehouse, where it stands.

    Nothing is done when those of the use case before ``as_of`` are there: another process may have brought
    them in while this one waited for its turn.
    """
    from hrloop import features, transform

    with locked(loop, ALONE) as connection:
        if not features.absent_decisions(loop.warehouse, declaration, as_of):
            return
        stands = steps.latest_done(connection, "warehouse")
        transform.build(
            loop.warehouse,
            loop.settings,
            {"as_of": moment.text(stands), **variables(loop)},
            select=("source:loop.decisions+",),
        )
