{{ config(unique_key='application_id', pre_hook="{{ join_in_bulk() }}") }}

-- When people first decided on an application, as it was first known. Later corrections do not change it:
-- a decision that was made stays where it was made. The stages that it came to are those that stand.
with events as (

    select * from {{ ref('stg_ats__application_events') }}
    where {{ is_changed('application_id', indexed=true) }}

),

numbered as (

    select
        application_id,
        occurred_at,
        known_from,
        known_to,
        stage,
        min(known_from) over (partition by application_id) as first_known_at
    from events

)

select
    application_id,
    coalesce(min(occurred_at) filter (where known_from = first_known_at), min(first_known_at)) as occurred_at,
    min(first_known_at) as known_at,
    array_agg(stage order by stage) filter (where known_to is null) as reached
from numbered
group by application_id
