{{ config(unique_key=['application_id']) }}

with passed as (

    {{ passed_batches() }}

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
        {{ canonical_list('raw.skills', 'skill_synonyms') }} as skills,
        {{ boolean_of('raw.foreign_experience') }} as foreign_experience,
        {{ number_of('raw.assessment_score') }} as assessment_score,
        -- The letter itself stays in raw: people sign their letters.
        coalesce({{ words_in('raw.cover_letter') }}, 0) as cover_letter_words,
        {{ version_columns('raw', ['raw.application_id']) }}
    from {{ source('raw', 'ats__applications') }} as raw
    where
        {{ is_usable('raw') }}
        and {{ has_grown(source('raw', 'ats__applications'), ['application_id'], indexed=true) }}

)

select * from versions
