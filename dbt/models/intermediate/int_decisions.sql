{{ config(pre_hook=["{{ forget_changed('case_key') }}", "{{ join_in_bulk() }}"]) }}

-- Every decision, once: those of the loop as they were recorded, and before them those that people made
-- alone, as they were first known. A use case that is not declared has none.
with applications as (

    select distinct on (application_id)
        application_id,
        candidate_key,
        requisition_id,
        known_from
    from {{ ref('stg_ats__applications') }}
    where {{ is_changed('application_id', indexed=true) }}
    order by application_id, known_from

),

first_stage_events as (

    select * from {{ ref('int_first_stage_events') }}
    where {{ is_changed('application_id', indexed=true) }}

),

recorded as (

    {{ recorded_decisions() }}

),

by_loop as (

    select * from recorded
    where {{ is_changed('case_key') }}

),

by_people as (

    select
        'history:' || applications.application_id as decision_id,
        'recruitment' as use_case,
        applications.application_id as case_key,
        applications.candidate_key as subject_key,
        applications.requisition_id as group_key,
        first_stage_events.occurred_at as decided_at,
        greatest(first_stage_events.known_at, applications.known_from) as known_at
    from applications
    inner join first_stage_events on applications.application_id = first_stage_events.application_id
    left join by_loop
        on applications.application_id = by_loop.case_key and by_loop.use_case = 'recruitment'
    where by_loop.decision_id is null and 'recruitment' = any({{ declared_use_cases() }})

    union all

    -- Nobody was warned of: that this was so is known when the month is over.
    select
        'history:' || employee_months.employee_month_id as decision_id,
        'attrition' as use_case,
        employee_months.employee_month_id as case_key,
        employee_months.employee_key as subject_key,
        employee_months.area as group_key,
        employee_months.open_from as decided_at,
        employee_months.open_to as known_at
    from {{ ref('int_employee_months') }} as employee_months
    left join by_loop
        on employee_months.employee_month_id = by_loop.case_key and by_loop.use_case = 'attrition'
    where
        employee_months.open_from < employee_months.open_to
        and {{ is_changed('employee_months.employee_month_id') }}
        and by_loop.decision_id is null

)

select * from by_loop

union all

select
    decision_id,
    use_case,
    case_key,
    subject_key,
    group_key,
    decided_at,
    known_at,
    'history' as origin,
    null::integer as model_version,
    null::text as arm,
    null::double precision as score,
    null::double precision as probability,
    null::double precision as confidence,
    null::integer as rank,
    null::integer as group_size,
    null::text as recommended_action,
    null::text as route,
    null::boolean as exploration,
    null::double precision as selection_propensity
from by_people
