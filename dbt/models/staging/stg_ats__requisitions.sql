{{ config(unique_key=['requisition_id']) }}

with passed as (

    {{ passed_batches() }}

),

versions as (

    select
        raw.requisition_id,
        {{ canonical('raw.job_family', 'job_family_synonyms') }} as job_family,
        {{ text_of('raw.title') }} as title,
        {{ text_of('raw.department') }} as department,
        {{ text_of('raw.location') }} as location,
        raw._happened_at as opened_at,
        {{ moment_of('raw.closed_at') }} as closed_at,
        {{ integer_of('raw.headcount') }} as headcount,
        {{ canonical_list('raw.required_skills', 'skill_synonyms') }} as required_skills,
        raw.hiring_manager_key,
        {{ version_columns('raw', ['raw.requisition_id']) }}
    from {{ source('raw', 'ats__requisitions') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'ats__requisitions'), ['requisition_id'], indexed=true) }}

)

select * from versions
