{# A build grows the warehouse where what was known before stands unchanged: then only what became known since
   is worked out, and all that hangs on it. Everything else is built anew. stg_loop__build says which of the two
   a build is; docs/warehouse.md explains it. #}


{# A table as the build before left it, or none: by name and not by ref, which would go round in a circle. #}
{% macro standing(schema, name) -%}
    {{ return(adapter.get_relation(target.database, schema, name) if execute else none) }}
{%- endmacro %}


{# The time by which what was known stands already; none where everything is built anew. Asked for once a model:
   `model` is kept for as long as one is compiled, or run.

   A part that is built for another as_of than the whole was begun for would leave a gap: it is refused. #}
{% macro known_since() -%}
    {%- if execute and 'known_since' not in model -%}
        {%- do model.update({'known_since': _asked_known_since()}) -%}
    {%- endif -%}
    {{ return(model['known_since'] if execute else none) }}
{%- endmacro %}


{% macro _asked_known_since() -%}
    {%- set build = standing('staging', 'stg_loop__build') -%}
    {%- if build is none -%}{{ return(none) }}{%- endif -%}
    {%- set found = run_query(
        "select nullif(since, '-infinity')::text, (stands_on ->> 'as_of')::timestamptz, "
        ~ "(stands_on ->> 'as_of')::timestamptz = " ~ as_of() ~ ' from ' ~ build
    ).rows[0] -%}
    {%- if flags.WHICH in ('build', 'run') and not found[2] -%}
        {{ exceptions.raise_compiler_error(
            'The last build was begun for ' ~ found[1] ~ ', and ' ~ model.name ~ ' is to be built for '
            ~ as_of() ~ '. Build all of it for one as_of.'
        ) }}
    {%- endif -%}
    {{ return(found[0]) }}
{%- endmacro %}


{# dbt's own question, answered for the models that grow. #}
{% macro should_full_refresh() -%}
    {%- if model.config.materialized == 'incremental' -%}
        {{ return(flags.FULL_REFRESH or known_since() is none) }}
    {%- endif -%}
    {{ return(config.get('full_refresh', flags.FULL_REFRESH)) }}
{%- endmacro %}


{# Whether a column is one of the values that a query gives; true where all is built anew. The column begins an
   index: the values are looked up in it in one go, and the table is not read whole. The planner takes them for
   ten, so that what it joins next it has to be told to join in bulk. #}
{% macro is_any_of(column, query) -%}
    {%- if is_incremental() -%}
        {{ column }} = any(array({{ query }}))
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Of a raw table the keys that have a row which became known since; all of them where it is built anew.
   `indexed`: the key begins an index, as where it is the first column of the primary key. #}
{% macro has_grown(raw, key, indexed=false) -%}
    {%- if is_incremental() and indexed -%}
        {{ is_any_of(key[0], 'select ' ~ key[0] ~ ' from ' ~ raw ~ " where _known_at > '" ~ known_since() ~ "'") }}
    {%- elif is_incremental() -%}
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
        {{ key }} in (
            select newer.{{ key }}
            from {{ staged }} as newer
            where newer.known_from > '{{ known_since() }}'
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Whether a value is named, in a column of a staged table, by any version of a key that has a new one; true
   where it is built anew. #}
{% macro is_named_anew(staged, key, column) -%}
    {%- if is_incremental() -%}
        {{ column }} in (
            select named.{{ column.split('.')[-1] }}
            from {{ staged }} as named
            where {{ has_new_version(staged, key) }}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Whether a case is one of int_changed_cases; true where it is built anew. That it is read is told to dbt while
   it parses; unit tests, where nothing grows, need not give it. `indexed`: the case begins an index. #}
{% macro is_changed(case_key, indexed=false) -%}
    {%- if is_incremental() or not execute -%}
        {%- set changed = 'select changed.changed_case from ' ~ ref('int_changed_cases') ~ ' as changed' -%}
        {{ is_any_of(case_key, changed) if indexed else case_key ~ ' in (' ~ changed ~ ')' }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Takes out all that a model says, of a model that is small and said anew each time. #}
{% macro forget_all() -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
    {%- endif -%}
{%- endmacro %}


{# Takes out what a model says of the changed cases before it is said anew: of some, nothing is left to say. The
   case begins an index of the model. #}
{% macro forget_changed(case_key) -%}
    {%- if is_incremental() -%}
        delete from {{ this }} where {{ is_changed(case_key, indexed=true) }}
    {%- endif -%}
{%- endmacro %}


{# Takes out the figures of the months that a version of a changed case lies in, before they are counted anew: of
   some, nothing is left to count. `relation` has the versions of the cases, with those that stand no longer: a
   case that moved to another month changes both. The months are kept for is_in_changed_month. #}
{% macro forget_changed_months(month, relation, case_key, moment) -%}
    {%- if is_incremental() or not execute -%}
        create temporary table changed_months on commit drop as (
            select
                listed.changed_month,
                listed.changed_month::timestamp at time zone 'UTC' as begins_at,
                (listed.changed_month + interval '1 month') at time zone 'UTC' as ends_at
            from (
                select distinct {{ month_of(moment) }} as changed_month
                from {{ relation }}
                where {{ is_changed(case_key, indexed=true) }}
            ) as listed
        );
        delete from {{ this }} where {{ month }} in (select changed_month from changed_months)
    {%- endif -%}
{%- endmacro %}


{# Whether a moment lies in one of those months: figures by month can change in these alone. True where everything
   is built anew. Moments are compared, as many rows are asked. #}
{% macro is_in_changed_month(moment) -%}
    {%- if is_incremental() -%}
        exists (
            select 1
            from changed_months
            where {{ moment }} >= begins_at and {{ moment }} < ends_at
        )
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


{# The same of the midnight (UTC) that a day begins with; days are compared, as many rows are asked. #}
{% macro is_new_day(day) -%}
    {%- if is_incremental() -%}
        {{ day }} > ('{{ known_since() }}'::timestamptz at time zone 'UTC')::date
        and {{ day }} <= ({{ as_of() }} at time zone 'UTC')::date
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# For a data test: whether a row was written since the build began, which the row of stg_loop__build tells by when
   it was written itself (xmin, the transaction). All others the build before has tested, or this one would not
   grow from it; true where everything is built anew. #}
{% macro is_written() -%}
    {%- if execute and known_since() -%}
        age(xmin) <= (select age(build.xmin) from {{ standing('staging', 'stg_loop__build') }} as build)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# Likewise for a data test of keys whose earlier rows may stand: whether a key has a row that was written. #}
{% macro has_written(model, key) -%}
    {%- if execute and known_since() -%}
        ({{ key | join(', ') }}) in (
            select {{ key | join(', ') }}
            from {{ model }}
            where {{ is_written() }}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{# dbt's way to put rows in place of others of their keys, without what it asks the catalogue on the way: columns
   and comments are those of when all was built anew, as another project is. Where the key begins an index, the
   others are looked up in it.

   The post-hook, statistics for the planner, runs where a tenth of the rows is new; otherwise they still do. #}
{% materialization incremental, adapter='postgres' %}
    {%- if not is_incremental() -%}
        {{ return(materialization_incremental_default()) }}
    {%- endif -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set unique_key = config.get('unique_key') -%}
    {%- set key = [unique_key] if unique_key is string else unique_key -%}
    {%- set standing = run_query(
        "select string_agg(quote_ident(attname), ', '), max(reltuples), bool_or(attname = '" ~ (key or [''])[0]
        ~ "' and attnum in (select indkey[0] from pg_index where indrelid = attrelid)) from pg_attribute"
        ~ " inner join pg_class on pg_class.oid = attrelid"
        ~ " where attrelid = '" ~ target ~ "'::regclass and attnum > 0 and not attisdropped"
    ).rows[0] -%}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') %}
        create temporary table grown on commit drop as (
            {{ sql }}
        );
        {% if key -%}
            {%- set begins_index = standing[2] %}
            delete from {{ target }}
            where
                {{ is_any_of(key[0], 'select ' ~ key[0] ~ ' from grown') if begins_index else 'true' }}
                {% if not begins_index or key | length > 1 -%}
                    and ({{ key | join(', ') }}) in (select {{ key | join(', ') }} from grown)
                {%- endif -%};
        {%- endif %}
        insert into {{ target }} ({{ standing[0] }}) select {{ standing[0] }} from grown
    {% endcall %}
    {%- if load_result('main').response.rows_affected * 10 > standing[1] -%}
        {{ run_hooks(post_hooks) }}
    {%- endif -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
