-- A company with :n applications in its first 36 months, as loader and gate would leave it: of what becomes
-- known month by month, the months from :first to :last. Each month is a batch of each table that has passed;
-- it arrives, and becomes known, on the first day of the next month at 6. Values depend on numbers alone.
create or replace function pg_temp.arrival(month bigint) returns timestamptz language sql as $$
    select timestamptz '2023-02-01 06:00:00+00' + make_interval(months => month::integer)
$$;

create or replace function pg_temp.share(number bigint, salt bigint) returns double precision language sql as $$
    select (hashint8extended(number, salt) & 1048575) / 1048576.0
$$;

create or replace function pg_temp.one_of(number bigint, salt bigint, variadic words text []) returns text language sql as $$
    select words[1 + floor(pg_temp.share(number, salt) * cardinality(words))]
$$;

-- A tenth is hired, in the month after the application; one in fifty is decided by nobody.
create temporary table applications on commit drop as
with numbered as (
    select number, number * 36 / :n as month, pg_temp.share(number, 1) as luck
    from generate_series(0, cast(:n as bigint) * (:last + 1) / 36 - 1) as numbers (number)
)
select
    number,
    month,
    lpad(number::text, 8, '0') as name,
    month * greatest(:n / 504, 1) + number % greatest(:n / 504, 1) as requisition,  -- fourteen for each
    case when luck < 0.1 then 'hired' when luck < 0.7 then 'rejected' when luck < 0.98 then 'screened' end as stage,
    pg_temp.arrival(month - 1) + make_interval(secs => floor(pg_temp.share(number, 2) * 28 * 86400)) as applied_at,
    (pg_temp.arrival(month + 1))::date + floor(pg_temp.share(number, 3) * 28)::integer as hired_on,
    case when pg_temp.share(number, 4) < 0.3 then 1 + floor(pg_temp.share(number, 5) * 30)::integer end as left_after
from numbered;

analyze applications;

insert into loop.batches
    (batch_id, system, table_name, file_name, content_sha256, arrived_at, status, gated_as_of)
select
    tables.system || '.' || tables.name || ' ' || month, tables.system, tables.name, month || '.csv', '0',
    pg_temp.arrival(month), 'passed', pg_temp.arrival(month)
from generate_series(:first, :last) as months (month)
cross join (
    values
    ('ats', 'requisitions'), ('ats', 'applications'), ('ats', 'application_events'),
    ('hris', 'employees'), ('hris', 'terminations'), ('hris', 'reviews')
) as tables (system, name);

insert into raw.ats__applications (
    application_id, candidate_id, candidate_key, requisition_id, applied_at, source_channel, years_experience,
    education_level, education_field, skills, foreign_experience, assessment_score, cover_letter,
    _batch_id, _row, _happened_at, _known_at, _arrived_at
)
select
    'A' || name,
    'C' || floor(pg_temp.share(number, 6) * :n * 0.8),
    md5('C' || floor(pg_temp.share(number, 6) * :n * 0.8)),
    'R' || requisition,
    applied_at::text,
    pg_temp.one_of(number, 7, 'job_board', 'referral', 'agency', 'career_site'),
    round((pg_temp.share(number, 8) * 30)::numeric, 1)::text,
    pg_temp.one_of(number, 9, 'bachelor', 'master', 'doctorate'),
    pg_temp.one_of(number, 10, 'computer science', 'mathematics', 'law', 'arts'),
    pg_temp.one_of(number, 11, 'python|sql', 'excel|sap|java', 'sql|statistics', 'cooking'),
    pg_temp.one_of(number, 12, 'true', 'false'),
    round((pg_temp.share(number, 13 + version) * 100)::numeric, 1)::text,
    pg_temp.one_of(number, 15, 'I have followed your work for years and would like to join.', 'See my papers.', ''),
    'ats.applications ' || month + version,
    number,
    applied_at,
    pg_temp.arrival(month + version),
    pg_temp.arrival(month + version)
from applications
cross join generate_series(0, 1) as versions (version)
where month + version between :first and :last
    and (version = 0 or pg_temp.share(number, 16) < 0.01);  -- one in a hundred is corrected a month later

insert into raw.ats__requisitions (
    requisition_id, job_family, title, department, location, opened_at, closed_at, headcount, required_skills,
    _batch_id, _row, _happened_at, _known_at, _arrived_at
)
select
    'R' || requisition,
    pg_temp.one_of(requisition, 21, 'engineering', 'sales', 'finance', 'nursing'),
    'Title',
    pg_temp.one_of(requisition, 22, 'research', 'north', 'south', 'support'),
    pg_temp.one_of(requisition, 23, 'Stockholm', 'Malmö', 'Umeå'),
    pg_temp.arrival(month - 1)::text,
    case when version = 1 then (pg_temp.arrival(month) + interval '20 days')::text end,
    '1',
    pg_temp.one_of(requisition, 24, 'python|sql', 'excel|sap', 'sql|statistics|python'),
    'ats.requisitions ' || month + version,
    requisition,
    pg_temp.arrival(month - 1),
    pg_temp.arrival(month + version),
    pg_temp.arrival(month + version)
from (select distinct requisition, month from applications) as requisitions
cross join generate_series(0, 1) as versions (version)
where month + version between :first and :last;

insert into raw.ats__application_events (
    event_id, application_id, stage, occurred_at, employee_id, employee_key,
    _batch_id, _row, _happened_at, _known_at, _arrived_at
)
select
    'V' || name || step,
    'A' || name,
    case when step = 0 then stage else 'interview' end,
    (pg_temp.arrival(month) + make_interval(days => 20 - 9 * step))::text,
    case when step = 0 and stage = 'hired' then 'E' || name end,
    case when step = 0 and stage = 'hired' then md5('E' || name) end,
    'ats.application_events ' || month + 1,
    number,
    pg_temp.arrival(month) + make_interval(days => 20 - 9 * step),
    pg_temp.arrival(month + 1),
    pg_temp.arrival(month + 1)
from applications
cross join generate_series(0, 1) as steps (step)
where month + 1 between :first and :last and stage is not null and (step = 0 or stage <> 'rejected');

insert into raw.hris__employees (
    employee_id, employee_key, valid_from, candidate_key, hired_on, department, job_family, job_level,
    manager_id, manager_key, employment_type, _batch_id, _row, _happened_at, _known_at, _arrived_at
)
select
    'E' || name,
    md5('E' || name),
    (hired_on + make_interval(months => 12 * version))::date::text,
    md5('C' || floor(pg_temp.share(number, 6) * :n * 0.8)),
    hired_on::text,
    pg_temp.one_of(number + version, 31, 'research', 'north', 'south', 'support'),
    pg_temp.one_of(requisition, 21, 'engineering', 'sales', 'finance', 'nursing'),
    (1 + version)::text,
    'E' || requisition,
    md5('E' || requisition),
    'permanent',
    'hris.employees ' || month + 2 + 12 * version,
    number,
    hired_on + make_interval(months => 12 * version),
    pg_temp.arrival(month + 2 + 12 * version),
    pg_temp.arrival(month + 2 + 12 * version)
from applications
cross join generate_series(0, 1) as versions (version)
where month + 2 + 12 * version between :first and :last
    and stage = 'hired'
    and (version = 0 or pg_temp.share(number, 32) < 0.3);  -- who moves on after a year

insert into raw.hris__terminations (
    employee_id, employee_key, terminated_on, kind, _batch_id, _row, _happened_at, _known_at, _arrived_at
)
select
    'E' || name,
    md5('E' || name),
    (hired_on + make_interval(months => left_after))::date::text,
    pg_temp.one_of(number, 41, 'voluntary', 'voluntary', 'voluntary', 'involuntary', 'layoff'),
    'hris.terminations ' || month + 3 + left_after,
    number,
    hired_on + make_interval(months => left_after),
    pg_temp.arrival(month + 3 + left_after),
    pg_temp.arrival(month + 3 + left_after)
from applications
where month + 3 + left_after between :first and :last and stage = 'hired';

insert into raw.hris__reviews (
    review_id, employee_id, employee_key, period_end, rating, _batch_id, _row, _happened_at, _known_at,
    _arrived_at
)
select
    'W' || name || ' ' || milestone,
    'E' || name,
    md5('E' || name),
    (hired_on + make_interval(months => milestone))::date::text,
    (1 + floor(pg_temp.share(number, 51 + milestone) * 5))::text,
    'hris.reviews ' || month + 3 + milestone,
    number,
    hired_on + make_interval(months => milestone),
    pg_temp.arrival(month + 3 + milestone),
    pg_temp.arrival(month + 3 + milestone)
from applications
cross join unnest(array[3, 6, 12, 24]) as milestones (milestone)
where month + 3 + milestone between :first and :last
    and stage = 'hired'
    and coalesce(left_after > milestone, true);
