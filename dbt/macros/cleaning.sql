{# Typed values out of raw text. What cannot be read as its type becomes null: the gate has counted it. #}

{% macro text_of(column) -%}
    case when lower(btrim({{ column }}, E' \t\r\n\u00a0')) not in ('', 'nan')
    then btrim({{ column }}, E' \t\r\n\u00a0') end
{%- endmacro %}


{# A finite number: NaN and the infinities are no measurements. #}
{% macro number_of(column) -%}
    case
        when not pg_input_is_valid({{ column }}, 'double precision') then null
        when {{ column }}::double precision between -1e300 and 1e300 then {{ column }}::double precision
    end
{%- endmacro %}


{# A whole number, also where an export writes it as 3.0. #}
{% macro integer_of(column) -%}
    case
        when not pg_input_is_valid({{ column }}, 'double precision') then null
        when {{ column }}::double precision between -1e15 and 1e15
            and {{ column }}::double precision = trunc({{ column }}::double precision)
            then {{ column }}::double precision::bigint
    end
{%- endmacro %}


{% macro boolean_of(column) -%}
    case when pg_input_is_valid({{ column }}, 'boolean') then {{ column }}::boolean end
{%- endmacro %}


{# A day, of a date or of a time. Written out, because Postgres also reads 'today' as a date. #}
{% macro day_of(column) -%}
    case when {{ column }} ~ '^\s*\d{4}-\d{2}-\d{2}' and pg_input_is_valid(left(btrim({{ column }}), 10), 'date')
    then left(btrim({{ column }}), 10)::date end
{%- endmacro %}


{# A moment with its UTC offset: without one it would depend on the server's time zone. #}
{% macro moment_of(column) -%}
    case
        when {{ column }} ~ '^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:.*(Z|[+-]\d{2}(:?\d{2})?)\s*$'
            and pg_input_is_valid({{ column }}, 'timestamptz')
            then {{ column }}::timestamptz
    end
{%- endmacro %}


{# Number of words; null when there is no text. Splitting at a regular expression takes thrice the time. #}
{% macro words_in(column) -%}
    cardinality(
        array_remove(string_to_array(translate({{ text_of(column) }}, E'\t\r\n\u00a0', '    '), ' '), '')
    )
{%- endmacro %}


{# A seed of synonyms as one jsonb object, for the two macros below: asked for once a query, not once a row. #}
{% macro taxonomy_of(synonyms) -%}
    (select jsonb_object_agg(synonym, canonical) from {{ ref(synonyms) }})
{%- endmacro %}


{# The one word of the taxonomy for a word and its synonyms. A word that the taxonomy does not know stays as
   it is, in lower case. #}
{% macro canonical(column, synonyms) -%}
    coalesce({{ taxonomy_of(synonyms) }} ->> lower({{ text_of(column) }}), lower({{ text_of(column) }}))
{%- endmacro %}


{# A |-separated list as a sorted array of distinct words of the taxonomy; null when nothing is in it. #}
{% macro canonical_list(column, synonyms) -%}
    (
        select array_agg(distinct coalesce({{ taxonomy_of(synonyms) }} ->> listed.word, listed.word))
        from (
            select lower(btrim(word, E' \t\r\n\u00a0')) as word
            from unnest(string_to_array({{ column }}, '|')) as split (word)
        ) as listed
        where listed.word not in ('', 'nan')
    )
{%- endmacro %}
