{{ config(unique_key=['review_id']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.review_id,
        raw.employee_key,
        {{ day_of('raw.period_end') }} as period_end,
        {{ number_of('raw.rating') }} as rating,
        raw.reviewer_key,
        {{ version_columns('raw', ['raw.review_id']) }}
    from {{ source('raw', 'hris__reviews') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__reviews'), ['review_id'], indexed=true) }}

)

select * from versions
