{{ config(pre_hook=[
    "{{ forget_changed_months('applied_month', ref('stg_ats__applications'), 'application_id', 'applied_at') }}",
    "{{ join_in_bulk() }}",
]) }}

-- Built behind the features, so that it does not hold up what the loop reads: dbt takes what is ready first.
-- depends_on: {{ ref('feat_application') }}
with applications as (

    select
        application_id,
        coalesce(source_channel, 'unknown') as source_channel,
        {{ month_of('applied_at') }} as applied_month
    from {{ ref('stg_ats__applications') }}
    where
        known_to is null
        and applied_at is not null
        and {{ is_in_changed_month('applied_at') }}

),

stages as (

    select * from {{ ref('int_first_stage_events') }}
    where {{ is_any_of('application_id', 'select applications.application_id from applications') }}

)

select
    applications.applied_month,
    applications.source_channel,
    count(*)::integer as applied,
    (count(*) filter (where 'screened' = any(stages.reached)))::integer as screened,
    (count(*) filter (where 'interview' = any(stages.reached)))::integer as interviewed,
    (count(*) filter (where 'offer' = any(stages.reached)))::integer as offered,
    (count(*) filter (where 'hired' = any(stages.reached)))::integer as hired,
    (count(*) filter (where 'rejected' = any(stages.reached)))::integer as rejected,
    (count(*) filter (where 'withdrawn' = any(stages.reached)))::integer as withdrawn,
    (count(*) filter (where stages.reached is null))::integer as still_open
from applications
left join stages on applications.application_id = stages.application_id
group by applications.applied_month, applications.source_channel
