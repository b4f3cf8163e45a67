{{ config(unique_key='application_id', pre_hook="{{ join_in_bulk() }}") }}

-- The features of an application as they were known over time: read the version that stood at a moment, and
-- nothing that became known after it is in it.
with applications as (

    select
        application_id,
        candidate_key,
        requisition_id,
        applied_at,
        years_experience,
        education_level,
        education_field,
        source_channel,
        skills,
        foreign_experience,
        assessment_score,
        cover_letter_words,
        known_from,
        coalesce(known_to, 'infinity') as known_to
    from {{ ref('stg_ats__applications') }}
    where {{ is_changed('application_id', indexed=true) }}

),

first_versions as (

    select
        first_version.application_id,
        first_version.candidate_key,
        first_version.requisition_id,
        first_version.applied_at,
        first_version.known_from as open_from
    from {{ ref('stg_ats__applications') }} as first_version
    where
        not exists (
            select 1
            from {{ ref('stg_ats__applications') }} as earlier
            where
                earlier.known_to is not null
                and earlier.application_id = first_version.application_id
                and earlier.known_to = first_version.known_from
        )
        {% if is_incremental() %}
            -- Those, and all others of the same candidates and requisitions, which they are counted among.
            and (
                first_version.candidate_key in (select applications.candidate_key from applications)
                or first_version.requisition_id in (select applications.requisition_id from applications)
                or (
                    first_version.candidate_key is null
                    and first_version.requisition_id is null
                    and {{ is_changed('first_version.application_id') }}
                )
            )
        {%- endif %}

),

-- Counted among what was known when the application became known, so that nothing later changes it.
earlier_applications as (

    select
        application_id,
        open_from,
        row_number() over (
            partition by candidate_key order by open_from, applied_at, application_id
        ) - 1 as prior_applications,
        row_number() over (
            partition by requisition_id order by open_from, applied_at, application_id
        ) - 1 as applicants_before
    from first_versions

),

first_stage_events as (

    select * from {{ ref('int_first_stage_events') }}
    where {{ is_changed('application_id', indexed=true) }}

),

-- A requisition before it was known, too: an application may be known earlier than what it is for.
requisitions as (

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
    from {{ ref('int_requisition_versions') }}

    union all

    select
        requisition_id,
        null as job_family,
        null as department,
        null as location,
        null as opened_at,
        null as headcount,
        null as required_skills,
        '-infinity' as known_from,
        min(known_from) as known_to
    from {{ ref('int_requisition_versions') }}
    group by requisition_id

),

versions as (

    select
        applications.application_id,
        applications.candidate_key,
        applications.requisition_id,
        applications.applied_at,
        applications.years_experience,
        applications.education_level,
        applications.education_field,
        applications.source_channel,
        applications.skills,
        applications.foreign_experience,
        applications.assessment_score,
        applications.cover_letter_words,
        requisitions.job_family,
        requisitions.department,
        requisitions.location,
        requisitions.opened_at,
        requisitions.headcount,
        requisitions.required_skills,
        greatest(applications.known_from, requisitions.known_from) as known_from,
        nullif(least(applications.known_to, requisitions.known_to), 'infinity') as known_to
    from applications
    left join requisitions
        on
            applications.requisition_id = requisitions.requisition_id
            and applications.known_from < requisitions.known_to
            and applications.known_to > requisitions.known_from

),

matched as materialized (

    select
        versions.*,
        cardinality(skills) as skills_count,
        cardinality(required_skills) as required_skills_count,
        case
            when skills is not null and required_skills is not null
                then (
                    select count(*)
                    from unnest(versions.skills) as stated (skill)
                    where stated.skill = any(versions.required_skills)
                )
        end as skills_matched
    from versions

)

select
    matched.application_id,
    matched.candidate_key,
    matched.requisition_id,
    matched.known_from,
    matched.known_to,
    earlier_applications.open_from,
    first_stage_events.known_at as open_to,
    matched.applied_at,
    matched.years_experience,
    matched.education_level,
    matched.education_field,
    matched.source_channel,
    matched.job_family,
    matched.department,
    matched.location,
    matched.foreign_experience,
    matched.assessment_score,
    matched.skills_count::integer as skills_count,
    matched.required_skills_count::integer as required_skills_count,
    matched.skills_matched::integer as skills_matched,
    matched.skills_matched::double precision / matched.required_skills_count as skills_match_share,
    (extract(epoch from matched.applied_at - matched.opened_at) / 86400)::double precision
        as days_open_at_application,
    earlier_applications.prior_applications::integer as prior_applications,
    earlier_applications.applicants_before::integer as applicants_before,
    matched.headcount::integer as headcount,
    matched.cover_letter_words::integer as cover_letter_words
from matched
inner join earlier_applications on matched.application_id = earlier_applications.application_id
left join first_stage_events on matched.application_id = first_stage_events.application_id
