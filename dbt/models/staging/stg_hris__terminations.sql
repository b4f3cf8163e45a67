{{ config(unique_key=['employee_key']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    -- The reason in free words stays in raw: it may name people.
    select
        raw.employee_key,
        {{ day_of('raw.terminated_on') }} as terminated_on,
        lower({{ text_of('raw.kind') }}) as kind,
        {{ version_columns('raw', ['raw.employee_key']) }}
    from {{ source('raw', 'hris__terminations') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__terminations'), ['employee_key']) }}

)

select * from versions
