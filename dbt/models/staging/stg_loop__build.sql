-- What this build stands on: as of when, what is declared, the project, and which batches have passed, each
-- with a stamp (xmin) that changes when its row does. All staging reads the batches from here, so that one
-- that passes meanwhile waits for the next build.
--
-- Where the last build came to its end (stg_loop__build_done is written last) and all that it stood on stands
-- unchanged, with nothing new that was known by then, the warehouse grows from there: `since`. So does a part
-- of it where the last build was of the same part, or of the whole. Where data tests are tasks of their own,
-- after the last model, `done` says which build has come through them.
{%- set last = standing('staging', 'stg_loop__build') %}
{%- set done = standing('staging', 'stg_loop__build_done') %}
{%- set on_record = var('done', none) %}
{%- set can_grow = last is not none and done is not none and not flags.FULL_REFRESH %}
with passed as (

    select jsonb_object_agg(batch_id, xmin::text) as batches
    from {{ source('loop', 'batches') }}
    where status = 'passed'

),

begun as (

    select
        jsonb_build_object(
            'as_of', {{ as_of() }},
            'declarations', '{{ tojson(declarations()) }}'::jsonb,
            'project', '{{ var("project", "") }}',
            'part', '{{ var("part", "") }}',
            'batches', coalesce(passed.batches, '{}')
        ) as stands_on
    from passed

),

last_done as (

    select
        last_begun.stands_on,
        (last_begun.stands_on ->> 'as_of')::timestamptz as as_of
    from {{ last if can_grow else 'begun' }} as last_begun
    inner join {{ done if can_grow else 'begun' }} as done on last_begun.stands_on = done.stands_on
    where {{ can_grow | lower }}

),

new_batches as (

    select jsonb_object_keys(stands_on -> 'batches') as batch_id
    from begun

    except

    select jsonb_object_keys(stands_on -> 'batches')
    from last_done

),

-- When the first of their rows became known: not by the last build's as_of, or it would have lacked them.
first_new as (
    {% for table in raw_tables() %}
        select min(_known_at) as known_at
        from {{ source('raw', table) }}
        where _batch_id = any(array(select new_batches.batch_id from new_batches))
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
)

select
    begun.stands_on,
    case
        when
            last_done.as_of <= {{ as_of() }}
            {%- if on_record is not none %}
                and last_done.as_of = nullif('{{ on_record }}', '')::timestamptz
            {%- endif %}
            and begun.stands_on -> 'declarations' = last_done.stands_on -> 'declarations'
            and begun.stands_on -> 'project' = last_done.stands_on -> 'project'
            and last_done.stands_on ->> 'part' in ('', begun.stands_on ->> 'part')
            and begun.stands_on -> 'batches' @> (last_done.stands_on -> 'batches')
            and not coalesce((select min(first_new.known_at) from first_new) <= last_done.as_of, false)
            then last_done.as_of
        else '-infinity'
    end as since
from begun
left join last_done on true
