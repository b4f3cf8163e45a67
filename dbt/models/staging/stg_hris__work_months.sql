{{ config(unique_key=['employee_key', 'month']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.employee_key,
        {{ day_of('raw.month') }} as month,
        {{ number_of('raw.overtime_hours') }} as overtime_hours,
        {{ number_of('raw.absence_hours') }} as absence_hours,
        {{ number_of('raw.sick_hours') }} as sick_hours,
        {{ number_of('raw.vacation_days') }} as vacation_days,
        {{ number_of('raw.meeting_hours') }} as meeting_hours,
        {{ integer_of('raw.messages_sent') }} as messages_sent,
        {{ integer_of('raw.internal_applications') }} as internal_applications,
        {{ version_columns('raw', ['raw.employee_key', 'raw.month']) }}
    from {{ source('raw', 'hris__work_months') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__work_months'), ['employee_key', 'month']) }}

)

select * from versions
