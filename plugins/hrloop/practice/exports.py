"""From the company's books to the files a real ATS and HRIS would send, with the dirt they would contain.

Dirt is bounded so that no file breaks a rule by accident: within every batch, and within every group (source
channel, site, department, …) the share of blanks in a critical field stays at or below 3 %, where 5 % would
fail. Small groups therefore have none.
"""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from hrloop.practice.company import BAD_BATCH_MONTH, Company, dates, seconds, texts
from hrloop.practice.people import respell
from hrloop.practice.scenarios import Gap, Garble
from hrloop.practice.taxonomy import JOB_FAMILIES, JOB_FAMILY_SYNONYMS
from hrloop.practice.workforce import RECORD

COLUMNS: dict[str, tuple[str, ...]] = {
    "ats/requisitions": (
        "requisition_id", "job_family", "title", "department", "location", "opened_at", "closed_at",
        "headcount", "required_skills", "hiring_manager_id", "updated_at",
    ),
    "ats/applications": (
        "application_id", "candidate_id", "requisition_id", "applied_at", "source_channel",
        "years_experience", "education_level", "education_field", "skills", "foreign_experience",
        "assessment_score", "cover_letter", "name", "email", "gender", "birth_year", "updated_at",
    ),
    "ats/application_events": (
        "event_id", "application_id", "stage", "occurred_at", "actor_id", "score", "reason_code",
        "employee_id", "updated_at",
    ),
    "ats/feedback": ("feedback_id", "application_id", "kind", "value", "actor_id", "occurred_at"),
    "hris/employees": RECORD,
    "hris/terminations": ("employee_id", "terminated_on", "kind", "reason", "updated_at"),
    "hris/reviews": ("review_id", "employee_id", "period_end", "rating", "reviewer_id", "updated_at"),
    "hris/work_months": (
        "employee_id", "month", "overtime_hours", "absence_hours", "sick_hours", "vacation_days",
        "meeting_hours", "messages_sent", "internal_applications", "updated_at",
    ),
    "hris/surveys": (
        "employee_id", "surveyed_on", "engagement", "enps", "manager_score", "updated_at",
    ),
    "hris/interventions": (
        "intervention_id", "employee_id", "kind", "started_on", "ended_on", "updated_at",
    ),
}  # fmt: skip
"""The tables that are written, in their order, and the columns of each."""

DATES = {
    "valid_from", "hired_on", "terminated_on", "period_end", "month", "surveyed_on", "started_on", "ended_on",
}  # fmt: skip
ENDINGS = {"ats/requisitions": "csv", "hris/work_months": "parquet"}  # all others: csv.gz

BLANKS = (None, "NaN", "   ", "")  # what systems write when they know nothing
BLANK_SHARE = 0.012  # of the rows, for every critical field listed here
BLANK_CAP = 0.03  # and never more than this in any group: the rule is 5 %
BLANK_FIELDS = {
    "ats/applications": ("source_channel", "years_experience", "education_level", "skills"),
    "ats/requisitions": ("job_family",),
    "hris/employees": ("department", "job_family", "job_level", "manager_id"),
    "hris/reviews": ("rating",),
    "hris/terminations": ("kind",),
}
GROUPS = {
    "ats/applications": ("source_channel", "location", "job_family", "gender"),
    "ats/requisitions": ("location", "department"),
    "hris/employees": ("location", "department"),
}
WRONG_VALUES = {  # table → column → what stands there instead, in one row of a thousand
    "ats/applications": {
        "applied_at": "2024-02-31T09:00:00Z",
        "requisition_id": "R9999-0000000",
        "years_experience": "140",
    },
    "ats/application_events": {"application_id": "A9999-0000000"},
    "ats/feedback": {"application_id": "A9999-0000000"},
    "hris/employees": {"hired_on": "2023-02-30"},
    "hris/reviews": {"rating": "9"},
    "hris/work_months": {"overtime_hours": 900.0},
    "hris/surveys": {"enps": "11"},
}
WRONG_SHARE = 0.001
REPEATED_SHARE = 0.002  # lines that stand in the file twice
BAD_BATCH_MISSING = 0.06  # of years_experience in the bad batch: 94 % complete


def export(
    company: Company, index: int, rows: dict[str, pd.DataFrame]
) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    """The files of one month by path below landing/, and how often each kind of dirt stands in each table.

    ``rows`` holds the clean rows by table: the exported columns, and those by which blanks must not gather.
    A table without rows has no file.
    """
    files, counts = {}, {}
    arrival = str((company.month(index) + 1).astype("M8[D]"))
    for number, table in enumerate(COLUMNS):
        if not len(rows[table]):
            continue
        rng = company.rng(index, "dirt", number)
        ending = ENDINGS.get(table, "csv.gz")
        frame = rows[table][list(COLUMNS[table])]
        if table == "hris/reviews":
            frame = _garbled(company, index, frame)
        frame = frame if ending == "parquet" else as_text(frame)
        frame, counts[table] = dirty(table, frame, rows[table], rng)
        missing = _missing(company, index) if table == "ats/applications" else None
        if missing:
            corrected = f"{table}/{np.datetime64(arrival) + 1}.{ending}"
            bad, repaired, added = _bad_batch(company, index, frame, missing, rng)
            files[f"{table}/{arrival}.{ending}"] = encode(bad, ending)
            files[corrected] = encode(repaired, ending)
            counts[table]["blank years_experience, repaired by the redelivery"] = added
        else:
            files[f"{table}/{arrival}.{ending}"] = encode(frame, ending)
    return files, counts


def dirty(
    table: str, frame: pd.DataFrame, groups: pd.DataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows as a real system would send them, and the count of each kind of dirt put in."""
    counts: dict[str, int] = {}
    flawed = {*WRONG_VALUES.get(table, {}), *BLANK_FIELDS.get(table, ())}
    columns = {name: frame[name].to_numpy(dtype=object).copy() for name in flawed}
    rows = len(frame)
    if "job_family" in frame:
        spelt = respell(frame["job_family"], JOB_FAMILIES, JOB_FAMILY_SYNONYMS, rng, share=0.2)
        counts["job_family spelt otherwise"] = int((spelt.array != frame["job_family"].array).sum())
        columns["job_family"] = spelt.to_numpy(dtype=object)
    touched = np.zeros(rows, dtype=bool)  # one flaw a row, so that flaws never add up in a group
    for column, value in WRONG_VALUES.get(table, {}).items():
        hit = np.flatnonzero((rng.random(rows) < WRONG_SHARE) & ~touched)
        columns[column][hit] = value
        touched[hit] = True
        counts[f"{column} {value}"] = len(hit)
    keys = [np.zeros(rows, dtype=np.int64)]
    keys += [pd.factorize(groups[name])[0] for name in GROUPS.get(table, ())]
    for column in BLANK_FIELDS.get(table, ()):
        wanted = np.flatnonzero((rng.random(rows) < BLANK_SHARE) & ~touched)
        for key in keys:
            room = np.floor(BLANK_CAP * np.bincount(key))[key[wanted]]
            wanted = wanted[pd.Series(key[wanted]).groupby(key[wanted]).cumcount().to_numpy() < room]
        columns[column][wanted] = np.array(BLANKS, dtype=object)[rng.integers(0, len(BLANKS), len(wanted))]
        touched[wanted] = True
        counts[f"{column} blank"] = len(wanted)
    again = np.flatnonzero((rng.random(rows) < REPEATED_SHARE) & ~touched)
    order = np.sort(np.concatenate([np.arange(rows), again]))
    counts["line repeated"] = len(again)
    written = {name: pd.Series(values, dtype=frame[name].dtype) for name, values in columns.items()}
    return frame.reset_index(drop=True).assign(**written).iloc[order].reset_index(drop=True), counts


def _garbled(company: Company, index: int, reviews: pd.DataFrame) -> pd.DataFrame:
    """The reviews as they were entered: in a Garble a share of them with any rating of the scale."""
    happens = company.scenario
    if not isinstance(happens, Garble) or not 0 <= index - happens.month < happens.months:
        return reviews
    rng = company.rng(index, "garble")
    drawn = np.round(rng.uniform(1, 5, size=len(reviews)), 1)
    return reviews.assign(rating=np.where(rng.random(len(reviews)) < happens.share, drawn, reviews["rating"]))


def _missing(company: Company, index: int) -> float | None:
    """The share of the month's applications without years_experience, where it is too large."""
    happens = company.scenario
    if isinstance(happens, Gap) and index == happens.month:
        return happens.share
    return BAD_BATCH_MISSING if index == BAD_BATCH_MONTH else None


def _bad_batch(company: Company, index: int, frame: pd.DataFrame, share: float, rng) -> tuple:
    """The applications file without years_experience in a share, its repaired redelivery, and what differs.

    Both have the same rows; in the redelivery the fields are filled, and those rows were updated later.
    """
    filled = frame["years_experience"].str.strip().replace({"NaN": "", "140": ""}).fillna("").ne("")
    spread = frame.loc[filled, "application_id"].drop_duplicates(keep=False).index.to_numpy()
    missing = frame["years_experience"].str.strip().replace({"NaN": ""}).fillna("").eq("").sum()
    added = int(np.ceil(share * len(frame))) - int(missing)
    hit = rng.choice(spread, size=added, replace=False)
    bad, repaired = frame.copy(), frame.copy()
    bad.loc[hit, "years_experience"] = None
    noon = company.opening(index + 1) + np.timedelta64(14 * 3600, "s")
    repaired.loc[hit, "updated_at"] = f"{noon}Z"
    return bad, repaired, added


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column as strings: dates and times in ISO 8601, UTC; missing stays missing."""
    columns = {}
    for name, values in frame.items():
        if values.dtype.kind == "M":
            columns[name] = texts(_iso(values, name in DATES))
        elif values.dtype.kind == "f":
            numbers = pc.cast(pa.array(values.to_numpy(), from_pandas=True), pa.string())
            columns[name] = texts(pc.replace_substring_regex(numbers, r"\.0$", ""))
        elif values.dtype.kind == "b":
            columns[name] = pd.Series(np.where(values, "true", "false"), dtype="str")
        else:
            columns[name] = values.astype("str").reset_index(drop=True)
    return pd.DataFrame(columns)


def _iso(values: pd.Series, day_only: bool) -> pa.Array:
    """Dates as 2026-10-01, times as 2026-10-01T06:00:00Z; missing stays missing."""
    if day_only:
        return pc.cast(pa.array(dates(values)), pa.string())
    written = pc.cast(pa.array(seconds(values)), pa.string())  # with a blank between day and time
    return pc.binary_join_element_wise(pc.binary_replace_slice(written, 10, 11, "T"), "Z", "")


def encode(frame: pd.DataFrame, ending: str) -> bytes:
    """The bytes of a file of this kind: equal rows give equal bytes."""
    sink = io.BytesIO()
    if ending == "parquet":
        typed = {
            name: values.to_numpy().astype("M8[D]") if name in DATES else values
            for name, values in frame.items()
        }
        typed["updated_at"] = pa.array(seconds(frame["updated_at"])).cast(pa.timestamp("ms", tz="UTC"))
        pyarrow.parquet.write_table(pa.table(typed), sink, compression="zstd")
        return sink.getvalue()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    # mtime 0: the time of writing must not be part of the bytes
    return gzip.compress(sink.getvalue(), compresslevel=6, mtime=0) if ending == "csv.gz" else sink.getvalue()


def write(path: Path, content: bytes, arrival: np.datetime64 | None = None) -> bool:
    """Write the file whole or not at all, dated to its arrival; False when these bytes stand there already.

    Readers never see half a file: it gets its name when it is complete.
    """
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    if arrival is not None:
        at = int(arrival.astype("M8[s]").astype(np.int64))
        os.utime(draft, (at, at))
    draft.replace(path)
    return True
