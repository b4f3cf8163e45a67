with standing as (

    select * from {{ ref('int_outcome_milestone_versions') }}
    where known_to is null

),

decisions as (

    select * from {{ ref('fct_decisions') }}

)

select
    standing.decision_id,
    standing.use_case,
    standing.case_key,
    decisions.subject_key,
    decisions.group_key,
    decisions.origin,
    decisions.recommended_action,
    standing.milestone_months,
    standing.starts_on,
    standing.ended_on,
    standing.due_on,
    standing.status,
    standing.value,
    standing.retained,
    standing.rating,
    standing.known_from as known_at
from standing
inner join decisions on standing.decision_id = decisions.decision_id
