{# The condition is true for every row; a row for which it is null fails. #}
{% test rows_satisfy(model, condition) %}

select *
from {{ model }}
where ({{ condition }}) is not true

{% endtest %}
