{{ config(unique_key=['employee_key', 'valid_from']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.employee_key,
        {{ day_of('raw.valid_from') }} as valid_from,
        raw.candidate_key,
        {{ day_of('raw.hired_on') }} as hired_on,
        {{ text_of('raw.department') }} as department,
        {{ canonical('raw.job_family', 'job_family_synonyms') }} as job_family,
        {{ text_of('raw.job_title') }} as job_title,
        {{ text_of('raw.job_level') }} as job_level,
        {{ text_of('raw.location') }} as location,
        raw.manager_key,
        lower({{ text_of('raw.employment_type') }}) as employment_type,
        {{ number_of('raw.fte') }} as fte,
        {{ number_of('raw.monthly_salary') }} as monthly_salary,
        {{ version_columns('raw', ['raw.employee_key', 'raw.valid_from']) }}
    from {{ source('raw', 'hris__employees') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'hris__employees'), ['employee_key', 'valid_from']) }}

)

select * from versions
