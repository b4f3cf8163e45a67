{{ config(unique_key=['employee_key', 'surveyed_on']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.employee_key,
        {{ day_of('raw.surveyed_on') }} as surveyed_on,
        {{ number_of('raw.engagement') }} as engagement,
        {{ integer_of('raw.enps') }} as enps,
        {{ number_of('raw.manager_score') }} as manager_score,
        {{ version_columns('raw', ['raw.employee_key', 'raw.surveyed_on']) }}
    from {{ source('raw', 'hris__surveys') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__surveys'), ['employee_key', 'surveyed_on']) }}

)

select * from versions
