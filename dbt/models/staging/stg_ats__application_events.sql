{{ config(unique_key=['event_id']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.event_id,
        {{ text_of('raw.application_id') }} as application_id,
        lower({{ text_of('raw.stage') }}) as stage,
        raw._happened_at as occurred_at,
        raw.actor_key,
        {{ number_of('raw.score') }} as score,
        lower({{ text_of('raw.reason_code') }}) as reason_code,
        raw.employee_key,
        {{ version_columns('raw', ['raw.event_id']) }}
    from {{ source('raw', 'ats__application_events') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'ats__application_events'), ['event_id'], indexed=true) }}

)

select * from versions
