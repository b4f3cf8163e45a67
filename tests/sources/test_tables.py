"""Raw tables follow the contract, and each role sees what its step needs and no more."""

import pytest
from hrloop import as_of, sources
from hrloop.sources import contract, persons, tables
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

NOW = as_of.parse("2024-03-01T06:00:00Z")
APPLICATION = (
    "application_id,candidate_id,requisition_id,applied_at,source_channel,years_experience,education_level,"
    "skills,name,email,gender,birth_year\n"
    "A1,C1,R1,2024-01-05T09:00:00Z,referral,3,master,sql,Ann Example,ann@example.org,female,1990\n"
)


def may_read(wh, role: str, sql: str) -> bool:
    try:
        with wh.engine(role).connect() as connection:
            connection.execute(text(sql)).all()
    except ProgrammingError as error:
        assert "permission denied" in str(error)  # noqa: PT017 - any other failure is a failure of the test
        return False
    return True


def test_tables_are_made_once(warehouse):
    assert sources.ensure_tables(warehouse) is True
    assert sources.ensure_tables(warehouse) is False


def test_a_column_new_in_the_contract_is_added(warehouse, monkeypatch):
    sources.ensure_tables(warehouse)
    old = contract.load()["ats.feedback"]
    column = contract.Column(type="text", person=True)
    wider = old.model_copy(update={"columns": old.columns | {"seen_by_id": column}})
    monkeypatch.setattr(tables.contract, "load", lambda: {"ats.feedback": wider})
    assert sources.ensure_tables(warehouse) is True
    assert may_read(warehouse, "transformer", "select seen_by_key from raw.ats__feedback")
    assert not may_read(warehouse, "transformer", "select seen_by_id from raw.ats__feedback")


def test_the_transformer_reads_pseudonyms_and_no_person(warehouse):
    sources.ensure_tables(warehouse)
    for table in contract.load().values():
        check_columns(warehouse, table)


def check_columns(warehouse, table):
    open_columns = [name for name in table.columns if name not in table.withheld]
    shown = [*open_columns, *table.keys_of_persons.values(), "_batch_id", "_happened_at", "_known_at"]
    assert may_read(warehouse, "transformer", f"select {', '.join(shown)} from {table.raw}")
    for column in [*table.withheld, "_extra"]:
        assert not may_read(warehouse, "transformer", f"select {column} from {table.raw}"), column
    assert not may_read(warehouse, "transformer", f"select * from {table.quarantine}")
    for role in ("engine", "analyst", "fairness"):
        assert not may_read(warehouse, role, f"select _batch_id from {table.raw}")


def test_protected_attributes_are_for_fairness_alone(warehouse, settings, deliver):
    deliver("ats/applications/2024-02-01.csv", APPLICATION)
    deliver(
        "hris/employees/2024-02-01.csv",
        "employee_id,valid_from,hired_on,department,job_family,job_level,manager_id,gender,birth_year\n"
        "E1,2024-01-01,2024-01-01,d,f,l,E2,male,1980\n",
    )
    sources.ingest(warehouse, settings, NOW)
    for view, key in (("ats__applications", "A1"), ("hris__employees", None)):
        select = f"select * from protected.{view}"
        assert may_read(warehouse, "fairness", select)
        for role in ("transformer", "engine", "analyst"):
            assert not may_read(warehouse, role, select)
        (found,) = warehouse.read("fairness", select).to_pylist()
        assert not {"employee_id", "candidate_id", "name", "email"} & set(found)
        assert {"gender", "birth_year", "_known_at", "_batch_id"} < set(found)
        assert found.get("application_id") == key


def test_persons_get_the_pseudonym_of_the_installation(warehouse, settings, deliver):
    deliver("ats/applications/2024-02-01.csv", APPLICATION)
    sources.ingest(warehouse, settings, NOW)
    (found,) = warehouse.read("loader", "select * from raw.ats__applications").to_pylist()
    assert len(found["candidate_key"]) == 32
    assert found["candidate_id"] == "C1"
    assert found["_row"] == 2
    assert found["_extra"] is None


def test_a_pseudonym_leads_back_to_its_person_by_the_loader_alone(warehouse, settings, deliver):
    deliver("ats/applications/2024-02-01.csv", APPLICATION)
    sources.ingest(warehouse, settings, NOW)
    (key,) = warehouse.read("loader", "select candidate_key from raw.ats__applications")["candidate_key"]
    assert persons.identify(warehouse, "candidate_key", key.as_py()) == "C1"
    with pytest.raises(persons.UnknownPerson, match=r"no source row has the candidate_key x+; .*raw\.ats__"):
        persons.identify(warehouse, "candidate_key", "x" * 32)
    with pytest.raises(persons.UnknownPerson, match="none"):
        persons.identify(warehouse, "visitor_key", key.as_py())
    assert not may_read(warehouse, "engine", "select candidate_id from raw.ats__applications")
