{# Months of 30.4375 days (a twelfth of 365.25) from one day to another. #}
{% macro months_between(earlier, later) -%}
    (({{ later }} - {{ earlier }}) / 30.4375)::double precision
{%- endmacro %}


{# A month as a number, so that neighbouring months differ by one. #}
{% macro month_number(day) -%}
    (extract(year from {{ day }}) * 12 + extract(month from {{ day }}))::integer
{%- endmacro %}


{# What stg_hris__work_months measures in each month. #}
{% macro work_measures() -%}
    {{ return([
        'overtime_hours',
        'absence_hours',
        'sick_hours',
        'vacation_days',
        'meeting_hours',
        'messages_sent',
        'internal_applications',
    ]) }}
{%- endmacro %}


{# A number, but no more than a bound; null stays null, of which least would make the bound. #}
{% macro at_most(value, bound) -%}
    case when {{ value }} > {{ bound }} then {{ bound }} else {{ value }} end::double precision
{%- endmacro %}


{# The name of an employee's month: pseudonym, colon, year and month. #}
{% macro employee_month_id(employee_key, month) -%}
    {{ employee_key }} || ':' || to_char({{ month }}, 'YYYY-MM')
{%- endmacro %}


{# The month of a moment, as its first day (UTC). #}
{% macro month_of(moment) -%}
    date_trunc('month', {{ moment }} at time zone 'UTC')::date
{%- endmacro %}
