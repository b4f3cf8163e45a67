"""The practice company in the loop: what its people do with the loop's decisions."""

from datetime import datetime, timedelta

import pandas as pd

from hrloop import practice, reviews
from hrloop.usecase import UseCase
from hrloop.warehouse import Warehouse


def reviewed(warehouse: Warehouse, use_case: UseCase, as_of: datetime, limit: int) -> int:
    """Record what the company's recruiters say to the decisions of one round; how many.

    The same decisions are reviewed however often it is run.
    """
    waiting = warehouse.read(
        "engine",
        "select decision_id, features ->> 'job_family' as job_family from loop.decisions"
        " where use_case = :use_case and as_of = :as_of and route = 'review'"
        " order by confidence, decision_id limit :limit",
        use_case=use_case.name,
        as_of=as_of,
        limit=limit,
    ).to_pandas()
    for row in practice.review(waiting).itertuples():
        reviews.record(
            warehouse,
            use_case,
            row.decision_id,
            row.reviewer,
            row.verdict,
            as_of + timedelta(days=1),
            reason_code=row.reason_code,
            words=row.words,
        )
    return len(waiting)


def decided(warehouse: Warehouse) -> pd.DataFrame:
    """The loop's recorded decisions as the practice company takes them, one row an application.

    ``action`` is what a reviewer said, where one did. Practice is for every use case whose cases are
    applications; there is one decision a case.
    """
    return warehouse.read(
        "engine",
        """
        select distinct on (decisions.case_key)
            decisions.case_key as application_id,
            decisions.recommended_action,
            decisions.rank,
            decisions.exploration,
            reviews.action
        from loop.decisions as decisions
        left join loop.reviews as reviews on decisions.decision_id = reviews.decision_id
        order by decisions.case_key, reviews.reviewed_at desc
        """,
    ).to_pandas()
