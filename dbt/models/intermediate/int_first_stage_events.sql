{{ config(unique_key='application_id') }}

-- When people first decided on an application, as it was first known. Later corrections do not change it:
-- a decision that was made stays where it was made.
with events as (

    select * from {{ ref('stg_ats__application_events') }}
    where {{ is_changed('application_id') }}

),

numbered as (

    select
        application_id,
        occurred_at,
        known_from,
        min(known_from) over (partition by application_id) as first_known_at
    from events

)

select
    application_id,
    coalesce(min(occurred_at), min(first_known_at)) as occurred_at,
    min(first_known_at) as known_at
from numbered
where known_from = first_known_at
group by application_id
