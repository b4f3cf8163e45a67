"""Where the loop stands: one dictionary of figures out of the ``loop`` tables, for pages and commands."""

from hrloop.warehouse import Warehouse

# as_ofs shown: a quarter of daily runs
RECENT = 92

_QUERIES = {
    "rows": """
        select system || '.' || table_name as table_name, sum(rows_in)::bigint as rows_in,
            sum(rows_passed) filter (where status = 'passed')::bigint as rows_passed,
            sum(rows_quarantined)::bigint as rows_quarantined,
            count(*) filter (where status = 'failed') as batches_failed,
            count(*) filter (where status = 'refused') as files_refused
        from loop.batches group by 1 order by 1""",
    "steps": """
        select as_of, step, use_case, state, summary from loop.steps
        where as_of in (select distinct as_of from loop.steps order by as_of desc limit :recent)
        order by as_of desc, started_at""",
    "gate_failures": """
        select as_of, system || '.' || table_name as table_name, batch_id, check_name, field, group_value,
            observed, threshold, detail
        from loop.gate_results where not passed order by as_of desc, gate_result_id limit 20""",
    "decisions": """
        select use_case, route, count(*) as decisions, max(as_of) as newest
        from loop.decisions group by 1, 2 order by 1, 2""",
    "champions": """
        select distinct on (use_case) use_case, version, kind, as_of, approved_by, approval_reason
        from loop.releases where kind in ('first', 'promote', 'roll_back')
        order by use_case, sequence desc""",
    "reviews": """
        select d.use_case, r.verdict, count(*) as reviews
        from loop.reviews as r join loop.decisions as d using (decision_id) group by 1, 2 order by 1, 2""",
}


def status(warehouse: Warehouse) -> dict[str, list[dict]]:
    """Rows per table, steps per as_of, the last gate failures, decisions, champions and reviews."""
    return {
        name: warehouse.read("engine", sql, **({"recent": RECENT} if ":recent" in sql else {})).to_pylist()
        for name, sql in _QUERIES.items()
    }
