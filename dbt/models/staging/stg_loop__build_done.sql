-- Built last of all: what the last build stood on that came to its end.
-- depends_on: {{ ref('warehouse_standing') }}
-- depends_on: {{ ref('changes') }}
select stands_on
from {{ ref('stg_loop__build') }}
where (stands_on ->> 'as_of')::timestamptz = {{ as_of() }}
