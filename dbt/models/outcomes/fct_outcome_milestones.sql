{{ config(
    unique_key=['case_key', 'use_case', 'milestone_months'],
    pre_hook=["{{ forget_changed('case_key') }}", "{{ join_in_bulk() }}"],
) }}

with standing as (

    select
        decision_id,
        use_case,
        case_key,
        milestone_months,
        starts_on,
        ended_on,
        due_on,
        status,
        value,
        retained,
        rating,
        known_from
    from {{ ref('int_outcome_milestone_versions') }}
    where
        known_to is null
        and ({{ is_changed('case_key') }} or {{ is_new('known_from') }})

),

decisions as (

    select * from {{ ref('int_decisions') }}
    where {{ is_any_of('case_key', 'select standing.case_key from standing') }}

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
