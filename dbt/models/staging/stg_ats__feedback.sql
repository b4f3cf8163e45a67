{{ config(unique_key=['feedback_id']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.feedback_id,
        {{ text_of('raw.application_id') }} as application_id,
        lower({{ text_of('raw.kind') }}) as kind,
        {{ number_of('raw.value') }} as value,
        raw.actor_key,
        raw._happened_at as occurred_at,
        {{ version_columns('raw', ['raw.feedback_id']) }}
    from {{ source('raw', 'ats__feedback') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'ats__feedback'), ['feedback_id'], indexed=true) }}

)

select * from versions
