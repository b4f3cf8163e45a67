with applications as (

    select
        application_id,
        coalesce(source_channel, 'unknown') as source_channel,
        date_trunc('month', applied_at at time zone 'UTC')::date as applied_month
    from {{ ref('stg_ats__applications') }}
    where known_to is null and applied_at is not null

),

stages as (

    select
        application_id,
        bool_or(stage = 'screened') as is_screened,
        bool_or(stage = 'interview') as is_interviewed,
        bool_or(stage = 'offer') as is_offered,
        bool_or(stage = 'hired') as is_hired,
        bool_or(stage = 'rejected') as is_rejected,
        bool_or(stage = 'withdrawn') as is_withdrawn
    from {{ ref('stg_ats__application_events') }}
    where known_to is null
    group by application_id

)

select
    applications.applied_month,
    applications.source_channel,
    count(*)::integer as applied,
    (count(*) filter (where stages.is_screened))::integer as screened,
    (count(*) filter (where stages.is_interviewed))::integer as interviewed,
    (count(*) filter (where stages.is_offered))::integer as offered,
    (count(*) filter (where stages.is_hired))::integer as hired,
    (count(*) filter (where stages.is_rejected))::integer as rejected,
    (count(*) filter (where stages.is_withdrawn))::integer as withdrawn,
    (count(*) filter (where stages.application_id is null))::integer as still_open
from applications
left join stages on applications.application_id = stages.application_id
group by applications.applied_month, applications.source_channel
