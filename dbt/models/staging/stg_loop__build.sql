-- What this build stands on: as of when, what is declared, the project, and which batches have passed, each with
-- a stamp (xmin) that changes when its rows do. All staging reads the batches from here, so that one that
-- passes meanwhile waits for the next build.
--
-- Where the last build came to its end (stg_loop__build_done is written last) and all that it stood on stands
-- unchanged, with nothing new that was known by then, the warehouse grows from there: `since`.
{%- set last = load_relation(this) %}
{%- set done = adapter.get_relation(this.database, this.schema, 'stg_loop__build_done') %}
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
            'batches', coalesce(passed.batches, '{}')
        ) as stands_on
    from passed

)
{%- if can_grow %},

last_done as (

    select
        last.stands_on,
        (last.stands_on ->> 'as_of')::timestamptz as as_of
    from {{ last }} as last
    inner join {{ done }} as done on last.stands_on = done.stands_on

),

new_batches as (

    select array_agg(batch_id) as ids
    from begun
    cross join last_done
    cross join jsonb_object_keys(begun.stands_on -> 'batches') as batches (batch_id)
    where not last_done.stands_on -> 'batches' ? batch_id

),

-- Rows that the last build did not know, although they were known by its as_of.
late as (
    {% for table in raw_tables() %}
        select 1 as found
        from {{ source('raw', table) }}
        where
            _batch_id = any((select ids from new_batches)::text[])
            and _known_at <= (select as_of from last_done)
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
)
{%- endif %}

select
    begun.stands_on,
    {%- if can_grow %}
        case
            when
                last_done.as_of <= {{ as_of() }}
                and begun.stands_on -> 'declarations' = last_done.stands_on -> 'declarations'
                and begun.stands_on -> 'project' = last_done.stands_on -> 'project'
                and begun.stands_on -> 'batches' @> (last_done.stands_on -> 'batches')
                and not exists (select from late)
                then last_done.as_of
            else '-infinity'
        end as since
    from begun
    left join last_done on true
    {%- else %}
        '-infinity'::timestamptz as since
    from begun
    {%- endif %}
