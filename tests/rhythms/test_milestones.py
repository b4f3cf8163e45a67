"""The report of milestones: what it says of an as_of does not depend on when it is written."""

from datetime import timedelta

import small_company as company
from hrloop.rhythms import Loop, milestones

READ = ["+fct_decisions", "+int_outcome_milestone_versions", "warehouse_standing"]


def test_it_says_the_same_before_and_after_the_round_of_its_as_of(server, tmp_path):
    """A decision of the round may be in the warehouse by then, or not yet: it belongs to the next report."""
    rows = company.random_staff(seed=5)
    opened = {f"k-{who}:{month[:7]}": opens for (who, month), (opens, _) in company.openings(rows).items()}
    taken = next(
        decision
        for decision in rows.decisions
        if decision["recommended_action"] == "none" and opened[decision["case_key"]] < decision["as_of"]
    )
    as_of = taken["as_of"]
    before = rows.known_by(as_of)
    before.decisions.remove(taken)
    with company.fresh(server, tmp_path) as warehouse:
        loop = Loop(warehouse.settings, warehouse)
        company.insert(warehouse, before)
        company.build(warehouse, as_of, READ)
        told = milestones.report(loop, "attrition", as_of)
        assert told["milestones"][0]["pending"] > 0

        company.insert(warehouse, company.Rows(decisions=[taken]))
        next_round = as_of + timedelta(seconds=1)
        company.build(warehouse, next_round, READ)
        assert milestones.report(loop, "attrition", as_of) == told
        then = milestones.report(loop, "attrition", next_round)
        assert then["milestones"][0]["pending"] == told["milestones"][0]["pending"] + 1
