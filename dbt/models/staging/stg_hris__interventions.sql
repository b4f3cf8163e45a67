{{ config(unique_key=['intervention_id']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.intervention_id,
        raw.employee_key,
        lower({{ text_of('raw.kind') }}) as kind,
        {{ day_of('raw.started_on') }} as started_on,
        {{ day_of('raw.ended_on') }} as ended_on,
        {{ version_columns('raw', ['raw.intervention_id']) }}
    from {{ source('raw', 'hris__interventions') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__interventions'), ['intervention_id'], indexed=true) }}

)

select * from versions
