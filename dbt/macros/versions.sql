{# The tables of raw. #}
{% macro raw_tables() -%}
    {{ return([
        'ats__requisitions',
        'ats__applications',
        'ats__application_events',
        'ats__feedback',
        'hris__employees',
        'hris__terminations',
        'hris__reviews',
        'hris__work_months',
        'hris__surveys',
        'hris__interventions',
    ]) }}
{%- endmacro %}


{# Rows of a raw table that may be used: of a batch that passed the gate, and known by as_of. #}
{% macro is_usable(raw) -%}
    {{ raw }}._known_at <= {{ as_of() }}
    and {{ raw }}._batch_id in (select passed.batch_id from passed)
{%- endmacro %}


{# The batches that passed the gate, as a common table expression for is_usable. #}
{% macro passed_batches() -%}
    select jsonb_object_keys(stands_on -> 'batches') as batch_id
    from {{ ref('stg_loop__build') }}
{%- endmacro %}


{# When a row version became known, and when the next one of its key did (null: it still stands). #}
{% macro version_columns(raw, key) -%}
    {{ raw }}._known_at as known_from,
    lead({{ raw }}._known_at) over (partition by {{ key | join(', ') }} order by {{ raw }}._known_at) as known_to
{%- endmacro %}


{# Common table expressions that join neighbouring intervals of a key in which the same facts stood.

   `intervals`: an expression with the columns of `key` and `facts`, known_from, and known_to ('infinity'
   where it still stands); intervals of one key do not overlap, and there may be gaps between them.
   Defines `collapsed`, with known_to null where it still stands. #}
{% macro collapse(intervals, key, facts) -%}
    compared as (

        select
            intervals.*,
            (
                known_from is distinct from lag(known_to) over by_key
                {%- for fact in facts %}
                or {{ fact }} is distinct from lag({{ fact }}) over by_key
                {%- endfor %}
            ) as is_change
        from {{ intervals }} as intervals
        window by_key as (partition by {{ key | join(', ') }} order by known_from)

    ),

    numbered as (

        select
            compared.*,
            count(*) filter (where is_change) over (
                partition by {{ key | join(', ') }} order by known_from
            ) as stretch
        from compared

    ),

    collapsed as (

        select
            {{ key | join(', ') }},
            {{ facts | join(', ') }},
            min(known_from) as known_from,
            nullif(max(known_to), 'infinity'::timestamptz) as known_to
        from numbered
        group by {{ key | join(', ') }}, {{ facts | join(', ') }}, stretch

    )
{%- endmacro %}
