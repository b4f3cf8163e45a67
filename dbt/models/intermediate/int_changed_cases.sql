{{ config(materialized='table', pre_hook="{{ join_in_bulk() }}") }}
{%- set since = known_since() or 'infinity' %}

-- The cases of which the warehouse says something new beside their outcomes: applications and employees'
-- months that something became known about since the build before. Where everything is built anew nothing
-- reads it, and it is empty: nothing becomes known after infinity.
--
-- Not materialised, so that of tables that are read more than once only the new rows are kept.
--
-- A row that names another application, candidate or requisition than it did before changes both.
with applications as not materialized (

    select
        application_id,
        candidate_key,
        requisition_id,
        known_from
    from {{ ref('stg_ats__applications') }}

),

events as not materialized (

    select
        application_id,
        stage,
        employee_key,
        known_from,
        known_to
    from {{ ref('stg_ats__application_events') }}

),

requisitions as (

    select
        requisition_id,
        known_from
    from {{ ref('int_requisition_versions') }}

),

employees as (

    select
        employee_key,
        candidate_key,
        known_from
    from {{ ref('stg_hris__employees') }}

),

terminations as (

    select
        employee_key,
        known_from
    from {{ ref('stg_hris__terminations') }}

),

work_months as (

    select
        employee_key,
        month,
        known_from
    from {{ ref('stg_hris__work_months') }}

),

decisions as (

    {{ recorded_decisions() }}

),

changed_employees as (

    select
        employee_key,
        candidate_key
    from employees
    where
        employee_key in (
            select newer.employee_key
            from employees as newer
            where newer.known_from > '{{ since }}'
        )

),

months as (

    select
        month,
        min(known_from) as first_known_from,
        lead(min(known_from)) over (order by month) as next_known_from
    from work_months
    group by month

),

-- As they stand where they are written last: what a build that broke off left undone is still new to the next
-- one. Where everything is built anew they are compared with themselves.
decisions_before as (

    select
        decision_id,
        use_case,
        case_key,
        subject_key,
        group_key,
        decided_at,
        known_at,
        origin,
        model_version,
        arm,
        score,
        probability,
        confidence,
        rank,
        group_size,
        recommended_action,
        route,
        exploration,
        selection_propensity
    from {{ standing('outcomes', 'fct_decisions') if known_since() else 'decisions' }}
    where origin = 'loop'

),

recorded as (

    select * from decisions

    except

    select * from decisions_before

),

withdrawn as (

    select * from decisions_before

    except

    select * from decisions

)

select application_id as changed_case
from applications
where
    known_from > '{{ since }}'
    or requisition_id in (
        select requisitions.requisition_id
        from requisitions
        where requisitions.known_from > '{{ since }}'
    )

union

-- An event that is new, or was put right since: what it named before, too.
select application_id
from events
where known_from > '{{ since }}' or known_to > '{{ since }}'

union

select events.application_id
from events
inner join changed_employees on events.employee_key = changed_employees.employee_key
where events.stage = 'hired'

union

select events.application_id
from events
inner join applications on events.application_id = applications.application_id
inner join changed_employees on applications.candidate_key = changed_employees.candidate_key
where events.stage = 'hired' and events.employee_key is null

union

-- Months that came or were over since, whole, and those of who left that are not over.
select {{ employee_month_id('work_months.employee_key', 'work_months.month') }}
from work_months
inner join months on work_months.month = months.month
where
    work_months.known_from > '{{ since }}'
    or months.first_known_from > '{{ since }}'
    or months.next_known_from > '{{ since }}'
    or (
        months.next_known_from is null
        and work_months.employee_key in (
            select terminations.employee_key
            from terminations
            where terminations.known_from > '{{ since }}'
        )
    )

union

select case_key
from recorded

union

select case_key
from withdrawn
