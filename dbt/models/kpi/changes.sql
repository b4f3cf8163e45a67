{{ config(pre_hook="{{ forget_all() }}") }}

-- Built behind the features, so that it does not hold up what the loop reads: dbt takes what is ready first.
-- depends_on: {{ ref('feat_application') }}
with releases as (

    select
        release_id,
        use_case,
        as_of,
        kind,
        version,
        previous_version,
        approved_by
    from {{ source('loop', 'releases') }}
    where as_of < {{ as_of() }} -- as the loop's decisions: what happens at the as_of comes with the next one

),

notes as (

    select
        release_id,
        language,
        words
    from {{ source('loop', 'change_notes') }}

)

select
    releases.release_id,
    notes.language,
    releases.use_case,
    releases.as_of as changed_at,
    releases.kind,
    releases.version,
    releases.previous_version,
    releases.approved_by,
    notes.words
from releases
inner join notes on releases.release_id = notes.release_id
