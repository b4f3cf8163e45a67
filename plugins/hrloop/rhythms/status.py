"""Where the loop stands: figures out of the ``loop`` tables and the warehouse, for pages and commands."""

import json

from hrloop.warehouse import Warehouse

RECENT = 92  # as_ofs and rounds listed: a quarter of daily runs
FAILURES = 20  # findings of the gate listed

_ROWS = """
    select system || '.' || table_name as table_name, sum(rows_in)::bigint as rows_in,
        sum(rows_passed)::bigint as rows_passed, sum(rows_quarantined)::bigint as rows_quarantined,
        count(*) filter (where status = 'failed') as batches_failed,
        count(*) filter (where status = 'refused') as files_refused
    from loop.batches group by 1 order by 1"""

_STEPS = """
    select as_of, step, use_case, state, summary from loop.steps
    where as_of in (select distinct as_of from loop.steps order by as_of desc limit :recent)
    order by as_of desc, step, use_case"""

_GATE_FAILURES = """
    select as_of, system || '.' || table_name as table_name, batch_id, check_name, field, group_column,
        group_value, rows, observed, threshold, detail
    from loop.gate_results where not passed order by as_of desc, gate_result_id limit :recent"""

_MILESTONES = """
    select use_case, milestone_months as months, count(*) filter (where status = 'observed') as observed,
        count(*) filter (where status = 'missing') as missing,
        count(*) filter (where status = 'pending') as pending,
        count(*) filter (where status = 'censored') as censored,
        avg(value) filter (where status = 'observed')::double precision as rate,
        count(*) filter (where status = 'observed')::double precision
            / nullif(count(*) filter (where status in ('observed', 'missing')), 0) as feedback_completeness
    from outcomes.fct_outcome_milestones group by 1, 2 order by 1, 2"""

_CHAMPIONS = """
    select distinct on (use_case) use_case, version, kind, as_of, approved_by, approval_reason
    from loop.releases where kind in ('first', 'promote', 'roll_back') order by use_case, sequence desc"""

# What was measured of today's champion when it was put in charge; a roll-back measures nothing anew.
_METRICS = """
    select c.use_case, c.version, m.key as metric, (m.value ->> 'value')::double precision as value,
        (m.value ->> 'low')::double precision as low, (m.value ->> 'high')::double precision as high,
        (m.value ->> 'n')::bigint as n
    from (
        select distinct on (use_case) use_case, version from loop.releases
        where kind in ('first', 'promote', 'roll_back') order by use_case, sequence desc
    ) as c
    join loop.releases as r
        on r.use_case = c.use_case and r.version = c.version and r.kind in ('first', 'promote')
    cross join jsonb_each(r.evidence -> 'metrics') as m (key, value)
    order by 1, 3"""

_DECISIONS = """
    select use_case, as_of, route, count(*) as decisions, count(*) filter (where exploration) as explored
    from loop.decisions
    where as_of in (select distinct as_of from loop.decisions order by 1 desc limit :recent)
    group by 1, 2, 3 order by 1, 2 desc, 3"""

# The newest word on each use case, where it is an alarm.
_ALARMS = """
    select use_case, as_of, step, summary -> 'drift' ->> 'words' as words
    from (
        select distinct on (use_case) use_case, as_of, step, summary from loop.steps
        where state = 'done' and summary -> 'drift' ->> 'raised' is not null
        order by use_case, as_of desc, step
    ) as newest
    where (summary -> 'drift' ->> 'raised')::boolean order by use_case"""

_REVIEWS = """
    select d.use_case, r.verdict, count(*) as reviews
    from loop.reviews as r join loop.decisions as d using (decision_id) group by 1, 2 order by 1, 2"""


def status(warehouse: Warehouse) -> dict[str, list[dict]]:
    """Lists of rows under rows, steps, gate_failures, alarms (of drift), milestones, champions, metrics,
    decisions, reviews.

    Milestones as of where the warehouse stands; empty while it was never built.
    """
    built = warehouse.read("engine", "select to_regclass('outcomes.fct_outcome_milestones') as t")["t"][0]

    def read(sql: str, **limits: int) -> list[dict]:
        return warehouse.read("engine", sql, **limits).to_pylist()

    return {
        "rows": read(_ROWS),
        "steps": [row | {"summary": json.loads(row["summary"])} for row in read(_STEPS, recent=RECENT)],
        "gate_failures": read(_GATE_FAILURES, recent=FAILURES),
        "alarms": read(_ALARMS),
        "milestones": read(_MILESTONES) if built.is_valid else [],
        "champions": read(_CHAMPIONS),
        "metrics": read(_METRICS),
        "decisions": read(_DECISIONS, recent=RECENT),
        "reviews": read(_REVIEWS),
    }
