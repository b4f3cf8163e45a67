"""Databases and APIs by the same road as files: incremental, at most once, through real servers."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from hrloop import as_of, sources
from hrloop.sources import SourceError
from hrloop.warehouse.fingerprint import fingerprint

JANUARY, FEBRUARY, MARCH = (as_of.parse(f"2024-0{month}-15T06:00:00Z") for month in (1, 2, 3))


def declare(settings, tmp_path: Path, text: str):
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    return settings.model_copy(update={"sources": path})


def raw(wh, table: str, columns: str) -> list[tuple]:
    found = wh.read("loader", f"select {columns} from raw.{table} order by {columns}")
    return [tuple(row.values()) for row in found.to_pylist()]


class Database:
    """A small HRIS in SQLite, with a table of reviews in local time and one of feedback."""

    def __init__(self, path: Path) -> None:
        self.engine = sa.create_engine(f"sqlite:///{path}")
        metadata = sa.MetaData()
        self.reviews = sa.Table(
            "reviews", metadata,
            sa.Column("Nr", sa.String, primary_key=True), sa.Column("employee_id", sa.String),
            sa.Column("period_end", sa.Date), sa.Column("rating", sa.Float),
            sa.Column("changed", sa.DateTime), sa.Column("comment", sa.String),
        )  # fmt: skip
        metadata.create_all(self.engine)

    def put(self, number: str, rating: float | None, changed: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.reviews.delete().where(self.reviews.c.Nr == number))
            connection.execute(
                self.reviews.insert().values(
                    Nr=number, employee_id="E1 ", period_end=datetime.fromisoformat("2023-12-31").date(),
                    rating=rating, changed=datetime.fromisoformat(changed), comment="kept",
                )
            )  # fmt: skip


@pytest.fixture
def database(tmp_path) -> Database:
    return Database(tmp_path / "hris.db")


@pytest.fixture
def hris(settings, tmp_path, database):
    return declare(
        settings,
        tmp_path,
        f"""
        systems:
          hris:
            kind: sql
            url: {database.engine.url}
            time_zone: Europe/Berlin
            tables:
              reviews: {{table: reviews, rename: {{Nr: review_id, changed: updated_at}}}}
        """,
    )


def test_what_a_declaration_translates_is_translated_in_a_pull(warehouse, settings, tmp_path, database):
    ours = declare(
        settings,
        tmp_path,
        f"""
        systems:
          hris:
            kind: sql
            url: {database.engine.url}
            time_zone: UTC
            history_until: 2024-01-01T00:00:00Z
            tables:
              reviews:
                table: reviews
                rename: {{Nr: reviewer_id}}
                values: {{rating: {{4: 5}}}}
                fill:
                  review_id: {{hash_of: [employee_id, period_end]}}
                  updated_at: {{column: period_end}}
        """,
    )
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    assert sources.ingest(warehouse, ours, JANUARY).refused == []
    assert sources.ingest(warehouse, ours, FEBRUARY).taken == []
    ((review_id, rating, known_at),) = raw(warehouse, "hris__reviews", "review_id, rating, _known_at")
    assert (len(review_id), rating, known_at) == (32, "5", as_of.parse("2023-12-31T00:00:00Z"))


def test_a_database_is_pulled_incrementally(warehouse, hris, database):
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    database.put("V2", 3.5, "2024-01-11T09:00:00")
    database.put("V9", 1.0, "2024-02-01T09:00:00")  # not known in January yet
    first = sources.ingest(warehouse, hris, JANUARY)
    assert [(taken.table, taken.file_name, taken.rows_in) for taken in first.taken] == [
        ("hris.reviews", "pull 2024-01-15T06:00:00Z", 2)
    ]
    assert first.taken[0].extra_columns == ["comment"]
    assert sources.ingest(warehouse, hris, JANUARY).taken == []

    database.put("V2", 5.0, "2024-02-10T09:00:00")
    second = sources.ingest(warehouse, hris, FEBRUARY)
    assert [taken.rows_in for taken in second.taken] == [2]
    assert raw(warehouse, "hris__reviews", "review_id, rating, updated_at, _known_at") == [
        ("V1", "4", "2024-01-10T08:00:00Z", JANUARY),
        ("V2", "3.5", "2024-01-11T08:00:00Z", JANUARY),
        ("V2", "5", "2024-02-10T08:00:00Z", FEBRUARY),
        ("V9", "1", "2024-02-01T08:00:00Z", FEBRUARY),
    ]


def test_a_row_written_late_with_the_last_time_is_not_missed(warehouse, hris, database):
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    sources.ingest(warehouse, hris, JANUARY)
    database.put("V2", 4.0, "2024-01-10T09:00:00")
    assert [taken.rows_in for taken in sources.ingest(warehouse, hris, FEBRUARY).taken] == [1]


def test_rows_that_cannot_be_keyed_are_quarantined_once(warehouse, settings, tmp_path, database):
    ours = declare(
        settings,
        tmp_path,
        f"""
        systems:
          hris:
            kind: sql
            url: {database.engine.url}
            tables:
              reviews:
                query: >-
                  select case Nr when 'V0' then ' ' else Nr end as review_id, employee_id, period_end, rating
                  from reviews
        """,
    )
    database.put("V0", 4.0, "2024-01-10T09:00:00")
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    taken = sources.ingest(warehouse, ours, JANUARY).taken
    assert [(each.rows_in, each.rows_quarantined) for each in taken] == [(2, 1)]
    assert sources.ingest(warehouse, ours, FEBRUARY).taken == []

    database.put("V1", None, "2024-01-10T09:00:00")  # no updated_at tells it: the row itself does
    taken = sources.ingest(warehouse, ours, MARCH).taken
    assert [(each.rows_in, each.rows_quarantined) for each in taken] == [(1, 0)]
    assert raw(warehouse, "hris__reviews", "review_id, _known_at, rating") == [
        ("V1", JANUARY, "4"), ("V1", MARCH, None),
    ]  # fmt: skip


def test_a_query_may_ask_since_the_last_pull(warehouse, settings, tmp_path, database):
    ours = declare(
        settings,
        tmp_path,
        f"""
        systems:
          hris:
            kind: sql
            url: {database.engine.url}
            time_zone: UTC
            tables:
              reviews:
                query: >-
                  select Nr as review_id, employee_id, period_end, rating,
                    strftime('%Y-%m-%dT%H:%M:%SZ', changed) as updated_at
                  from reviews where datetime(changed) >= datetime(:since) and Nr <> 'V3'
        """,
    )
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    sources.ingest(warehouse, ours, JANUARY)
    database.put("V2", 4.0, "2024-01-09T09:00:00")  # before what was delivered: the query leaves it out
    database.put("V4", 4.0, "2024-02-09T09:00:00")
    sources.ingest(warehouse, ours, FEBRUARY)
    assert raw(warehouse, "hris__reviews", "review_id") == [("V1",), ("V4",)]


def test_a_pull_that_breaks_the_contract_is_refused(warehouse, settings, tmp_path, database):
    ours = declare(
        settings,
        tmp_path,
        f"""
        systems:
          hris: {{kind: sql, url: "{database.engine.url}", tables: {{reviews: {{table: reviews}}}}}}
        """,
    )
    database.put("V1", 4.0, "2024-01-10T09:00:00")
    (refused,) = sources.ingest(warehouse, ours, JANUARY).refused
    assert refused.reason.startswith(
        "hris/reviews/pull 2024-01-15T06:00:00Z: required column review_id is missing; add it, or map"
    )


def test_a_database_out_of_reach_is_told_after_all_else_was_taken(warehouse, settings, tmp_path, deliver):
    ours = declare(
        settings,
        tmp_path,
        r"""
        systems:
          ats: {kind: files}
          hris: {kind: sql, url: "sqlite:////nowhere/hris.db", tables: {reviews: {table: reviews}}}
        """,
    )
    deliver(
        "ats/requisitions/a.csv", "requisition_id,job_family,title,opened_at\nR1,f,t,2024-01-01T00:00:00Z\n"
    )
    with pytest.raises(
        SourceError, match=r"hris.reviews could not be read from its database: unable to open"
    ):
        sources.ingest(warehouse, ours, FEBRUARY)
    assert raw(warehouse, "ats__requisitions", "requisition_id") == [("R1",)]


class Api(BaseHTTPRequestHandler):
    """An ATS that gives feedback in pages of two to whoever knows the token."""

    feedback: list[dict]
    asked: list[str]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        self.asked.append(self.path)
        if self.headers["Authorization"] != "Bearer open sesame":
            self.send_error(401)
            return
        since, page = query["since"][0], int(query.get("page", ["0"])[0])
        rows = [row for row in self.feedback if row["changed"] >= since]
        more = page * 2 + 2 < len(rows)
        body = {
            "items": rows[page * 2 : page * 2 + 2],
            "next": f"http://{self.headers['Host']}/feedback?since={since}&page={page + 1}" if more else None,
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[tuple[type[Api], str]]:
    handler = type("Feedback", (Api,), {"feedback": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def event(number: int, changed: str, **more) -> dict:
    return {
        "application_id": f"A{number}", "requisition_id": "R1", "candidate_id": "C1", "applied_at": changed,
        "source_channel": "referral", "years_experience": 3, "education_level": "master",
        "skills": ["sql", "python"], "changed": changed, **more,
    }  # fmt: skip


@pytest.fixture
def ats(settings, tmp_path, api, monkeypatch):
    monkeypatch.setenv("HRLOOP_SECRET_ATS_TOKEN", "open sesame")
    return declare(
        settings,
        tmp_path,
        f"""
        systems:
          ats:
            kind: rest
            base_url: {api[1]}
            secret: ats_token
            tables:
              applications:
                rename: {{changed: updated_at}}
                since: since
                endpoint:
                  path: feedback
                  data_selector: items
                  paginator: {{type: json_link, next_url_path: next}}
        """,
    )


def test_an_api_is_pulled_page_by_page_and_incrementally(warehouse, ats, api):
    handler, _ = api
    handler.feedback += [event(number, f"2024-01-0{number}T00:00:00Z") for number in range(1, 6)]
    first = sources.ingest(warehouse, ats, JANUARY)
    assert [taken.rows_in for taken in first.taken] == [5]
    assert len(handler.asked) == 3
    found = raw(warehouse, "ats__applications", "application_id, years_experience, skills, _known_at")
    assert found == [(f"A{number}", "3", "sql|python", JANUARY) for number in range(1, 6)]

    before = fingerprint(warehouse, "raw.ats__applications")
    assert sources.ingest(warehouse, ats, JANUARY).taken == []
    assert fingerprint(warehouse, "raw.ats__applications") == before

    handler.asked.clear()
    handler.feedback.append(event(6, "2024-02-01T00:00:00Z", remote=True))
    second = sources.ingest(warehouse, ats, FEBRUARY)
    assert [(taken.rows_in, taken.extra_columns) for taken in second.taken] == [(1, ["remote"])]
    assert handler.asked == ["/feedback?since=2024-01-05T00%3A00%3A00Z"]


def test_an_api_that_says_no_is_named(warehouse, ats, monkeypatch):
    monkeypatch.setenv("HRLOOP_SECRET_ATS_TOKEN", "wrong")
    with pytest.raises(SourceError, match=r"ats.applications could not be read from http://127"):
        sources.ingest(warehouse, ats, JANUARY)
