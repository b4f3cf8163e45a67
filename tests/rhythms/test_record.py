"""Steps on record: what is done, what is pending, and who may run at the same time."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hrloop.rhythms import Loop, Refused, decisions, due, intake, recorded
from sqlalchemy import text

AS_OF = datetime(2026, 9, 1, 6, tzinfo=UTC)


@pytest.fixture
def loop(settings, warehouse) -> Loop:
    return Loop(settings, warehouse)


def rows(loop: Loop) -> dict[str, tuple[str, dict]]:
    with loop.warehouse.engine("engine").connect() as connection:
        found = connection.execute(text("select step, state, summary from loop.steps"))
        return {step: (state, summary) for step, state, summary in found}


def test_a_step_leaves_its_figures(loop):
    with recorded(loop, "ingest", AS_OF) as summary:
        assert rows(loop)["ingest"][0] == "running"
        summary["taken"] = 3
    assert rows(loop)["ingest"] == ("done", {"taken": 3})


def test_a_refusal_is_final_and_trouble_is_not(loop):
    with pytest.raises(Refused), recorded(loop, "gate", AS_OF):
        raise Refused("too many blanks", {"reason": "too many blanks", "batches": 1})
    with pytest.raises(ValueError, match="a leak"), recorded(loop, "training", AS_OF):
        raise ValueError("a leak")
    with pytest.raises(ConnectionError), recorded(loop, "warehouse", AS_OF):
        raise ConnectionError("the database restarts")
    assert rows(loop) == {
        "gate": ("failed", {"reason": "too many blanks", "batches": 1}),
        "training": ("failed", {"reason": "a leak"}),
        "warehouse": ("running", {}),
    }


def test_pending_is_what_the_step_before_has_done_oldest_first(loop):
    days = [AS_OF + timedelta(days=number) for number in range(4)]
    for day in reversed(days):
        with recorded(loop, "ingest", day):
            pass
    with recorded(loop, "gate", days[1]):
        pass
    with pytest.raises(Refused), recorded(loop, "gate", days[2]):
        raise Refused("no")
    with pytest.raises(ConnectionError), recorded(loop, "gate", days[3]):
        raise ConnectionError
    assert due(loop, "gate", "ingest") == [days[0], days[3]]
    assert due(loop, "gate", "ingest", days[2]) == [days[2]], "asked for by name, it is run again"
    with pytest.raises(Refused, match="Run gate with the same as_of first"):
        due(loop, "warehouse", "gate", days[0])


def test_a_step_runs_alone_and_others_beside_it(loop):
    inside, go_on, order = threading.Event(), threading.Event(), []

    def first():
        with recorded(loop, "ingest", AS_OF, alone="intake"):
            inside.set()
            go_on.wait(20)
            order.append("first")

    def second():
        with recorded(loop, "gate", AS_OF, alone="intake"):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    with recorded(loop, "milestones", AS_OF, "recruitment"):  # not part of the intake: need not wait
        order.append("beside")
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert order == ["beside", "first", "second"]


def test_one_build_serves_several_as_ofs_and_stands_at_the_highest(loop):
    later, latest = AS_OF + timedelta(days=1), AS_OF + timedelta(days=2)
    plan = intake.plan_build(loop, [AS_OF, later])
    assert plan["as_ofs"] == ["2026-09-01T06:00:00Z", "2026-09-02T06:00:00Z"]
    assert plan["variables"]["as_of"] == "2026-09-02T06:00:00Z"
    assert rows(loop)["warehouse"][0] == "running"
    intake.record_build(loop, plan)
    assert rows(loop)["warehouse"] == ("done", {})
    intake.record_build(loop, intake.plan_build(loop, [latest]))
    again = intake.plan_build(loop, [AS_OF])["variables"]
    assert again["as_of"] == "2026-09-03T06:00:00Z", "never back"
    assert again["done"] == "2026-09-03T06:00:00Z"


def test_each_declaration_reaches_dbt_under_its_own_name(loop, tmp_path):
    source = (loop.settings.project / "models" / "recruitment" / "use_case.yaml").read_text()
    value = loop.use_case("recruitment").parameter("report_grace_days")
    for name, days in (("recruitment", value), ("internal_moves", value + 1)):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        head, tail = source.replace("name: recruitment", f"name: {name}").split("report_grace_days:")
        tail = tail.replace(f"value: {value:g}", f"value: {days:g}", 1)
        (folder / "use_case.yaml").write_text(f"{head}report_grace_days:{tail}")
    both = Loop(loop.settings.model_copy(update={"project": tmp_path}), loop.warehouse)
    declared = intake.variables(both)["use_cases"]
    assert {name: keys["report_grace_days"] for name, keys in declared.items()} == {
        "recruitment": value, "internal_moves": value + 1,
    }  # fmt: skip
    assert declared["recruitment"] == {
        "milestones": [3, 6, 12, 24], "label_milestone": 12,
        "positive_action": "advance", "negative_action": "decline",
        "good_hire_rating": loop.use_case("recruitment").parameter("good_hire_rating"),
        "report_grace_days": value,
    }  # fmt: skip
    assert intake.plan_build(both, [AS_OF])["variables"]["use_cases"] == declared


def release(loop: Loop, as_of: datetime) -> None:
    with loop.warehouse.engine("engine").begin() as connection:
        connection.execute(
            text(
                "insert into loop.releases (release_id, use_case, as_of, kind, version, verdict)"
                " values ('r', 'recruitment', :as_of, 'first', 1, 'promote')"
            ),
            {"as_of": as_of},
        )


def test_without_a_champion_people_decide_alone_and_the_as_of_is_done(loop):
    summary = decisions.decide(loop, "recruitment", AS_OF)
    assert summary == {"decided": 0, "note": "no champion: people decide alone"}
    assert rows(loop)["decisions"] == ("done", summary)


def test_a_champion_decides_nothing_from_before_its_time(loop):
    release(loop, AS_OF + timedelta(days=1))
    summary = decisions.decide(loop, "recruitment", AS_OF)
    assert summary["decided"] == 0
    assert "since 2026-09-02T06:00:00Z" in summary["note"]
