{# A build grows the warehouse where what was known before stands unchanged: then only what became known since
   is worked out, and all that hangs on it. Everything else is built anew. stg_loop__build says which of the two
   a build is; docs/warehouse.md explains it. #}


{# The time by which what was known stands already; none where everything is built anew. It is asked for by
   name and not by ref, as each model that grows stands behind stg_loop__build already. #}
{% macro known_since() -%}
    {%- set build = adapter.get_relation(target.database, 'staging', 'stg_loop__build') -%}
    {%- if not execute or build is none -%}{{ return(none) }}{%- endif -%}
    {%- set found = run_query('select since::text from ' ~ build ~ " where since > '-infinity'") -%}
    {{ return(found.rows[0][0] if found.rows else none) }}
{%- endmacro %}


{# dbt's own question, answered for the models that grow. #}
{% macro should_full_refresh() -%}
    {%- if model.config.materialized == 'incremental' -%}
        {{ return(flags.FULL_REFRESH or known_since() is none) }}
    {%- endif -%}
    {{ return(config.get('full_refresh', flags.FULL_REFRESH)) }}
{%- endmacro %}


{# Of a raw table the keys that have a row which became known since; all of them where it is built anew. #}
{% macro has_grown(raw, key) -%}
    {%- if is_incremental() -%}
        ({{ key | join(', ') }}) in (
            select {{ key | join(', ') }}
            from {{ raw }}
            where _known_at > '{{ known_since() }}'
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Whether a key of a staged table has a version that became known since; true where it is built anew. #}
{% macro has_new_version(staged, key) -%}
    {%- if is_incremental() -%}
        {{ key }} in (select newer.{{ key }} from {{ staged }} as newer where newer.known_from > '{{ known_since() }}')
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Whether a value is named, in a column of a staged table, by any version of a key that has a new one. #}
{% macro names_new(staged, key, column) -%}
    {{ column }} in (
        select named.{{ column }}
        from {{ staged }} as named
        where named.{{ key }} in (
            select newer.{{ key }} from {{ staged }} as newer where newer.known_from > '{{ known_since() }}'
        )
    )
{%- endmacro %}


{# Whether a case is one of int_changed_cases; true where it is built anew. #}
{% macro is_changed(case_key) -%}
    {%- set changed = ref('int_changed_cases') -%}
    {%- if is_incremental() -%}
        {{ case_key }} in (select changed.changed_case from {{ changed }} as changed)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Whether a moment lies in the time that a build adds; true where it is built anew. #}
{% macro is_new(moment) -%}
    {%- if is_incremental() -%}
        {{ moment }} > '{{ known_since() }}' and {{ moment }} <= {{ as_of() }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
