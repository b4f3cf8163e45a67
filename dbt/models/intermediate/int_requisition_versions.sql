{{ config(unique_key='requisition_id') }}

-- What features read of a requisition, in as few versions as they can tell apart.
with requisitions as (

    select
        requisition_id,
        job_family,
        department,
        location,
        opened_at,
        headcount,
        required_skills,
        known_from,
        coalesce(known_to, 'infinity') as known_to
    from {{ ref('stg_ats__requisitions') }}
    where {{ has_new_version(ref('stg_ats__requisitions'), 'requisition_id') }}

),

{{ collapse(
    'requisitions',
    key=['requisition_id'],
    facts=['job_family', 'department', 'location', 'opened_at', 'headcount', 'required_skills'],
) }}

select * from collapsed
