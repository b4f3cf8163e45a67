with decisions as (

    select * from {{ ref('int_decisions') }}

),

hires as (

    select * from {{ ref('int_hires') }}
    where known_to is null

)

select
    decisions.decision_id,
    decisions.use_case,
    decisions.case_key,
    decisions.subject_key,
    decisions.group_key,
    decisions.decided_at,
    decisions.known_at,
    decisions.origin,
    decisions.model_version,
    decisions.arm,
    decisions.score,
    decisions.probability,
    decisions.confidence,
    decisions.rank,
    decisions.group_size,
    decisions.recommended_action,
    decisions.route,
    decisions.exploration,
    decisions.selection_propensity,
    hires.application_id is not null as selected,
    hires.hired_at as selected_at,
    hires.known_from as selected_known_at,
    hires.employee_key
from decisions
left join hires on decisions.case_key = hires.application_id and decisions.use_case = 'recruitment'
