{{ config(pre_hook=["{{ forget_changed('case_key') }}", "{{ join_in_bulk() }}"]) }}
{%- set positive_action = declared('attrition', 'positive_action', 'text') %}

-- Built last of what is said by decision: one that stands here is not new to int_changed_cases any more.
-- depends_on: {{ ref('fct_outcome_milestones') }}
with decisions as (

    select * from {{ ref('int_decisions') }}
    where {{ is_changed('case_key', indexed=true) }}

),

-- Whose outcome can be seen: who was hired, and of whom the loop did not warn.
selections as (

    select
        decisions.decision_id,
        hires.hired_at as selected_at,
        hires.known_from as selected_known_at,
        hires.employee_key
    from {{ ref('int_hires') }} as hires
    inner join decisions on hires.application_id = decisions.case_key
    where hires.known_to is null and decisions.use_case = 'recruitment'

    union all

    select
        decision_id,
        decided_at as selected_at,
        known_at as selected_known_at,
        subject_key as employee_key
    from decisions
    where
        use_case = 'attrition'
        and (origin = 'history' or recommended_action <> {{ positive_action }})

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
    selections.decision_id is not null as selected,
    selections.selected_at,
    selections.selected_known_at,
    selections.employee_key
from decisions
left join selections on decisions.decision_id = selections.decision_id
