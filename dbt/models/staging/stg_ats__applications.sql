with passed as (

    {{ passed_batches() }}

),

taxonomy as (

    select jsonb_object_agg(synonym, canonical) as skill_of
    from {{ ref('skill_synonyms') }}

),

versions as (

    select
        raw.application_id,
        raw.candidate_key,
        {{ text_of('raw.requisition_id') }} as requisition_id,
        raw._happened_at as applied_at,
        lower({{ text_of('raw.source_channel') }}) as source_channel,
        {{ number_of('raw.years_experience') }} as years_experience,
        lower({{ text_of('raw.education_level') }}) as education_level,
        lower({{ text_of('raw.education_field') }}) as education_field,
        {{ canonical_list('raw.skills', 'taxonomy.skill_of') }} as skills,
        {{ boolean_of('raw.foreign_experience') }} as foreign_experience,
        {{ number_of('raw.assessment_score') }} as assessment_score,
        -- The letter itself stays in raw: people sign their letters.
        coalesce(
            cardinality(regexp_split_to_array({{ text_of('raw.cover_letter') }}, '\s+')), 0
        ) as cover_letter_words,
        {{ version_columns('raw', ['raw.application_id']) }}
    from {{ source('raw', 'ats__applications') }} as raw
    cross join taxonomy
    where {{ is_usable('raw') }}

)

select * from versions
