"""The rows of ``make bench``: what holds, what does not, and how a time grows."""

import json

import pytest

import benchmarks.__main__ as bench
from benchmarks import at_most, duration, growth, in_bulk, rate


def test_a_rate_is_the_median_of_turns_and_may_not_fall_below_its_share():
    turns = [(2.0, 1.0), (1.25, 1.0), (1.0, 1.0)]  # a turn that met other work does not decide
    row = rate("load", 1000, turns, limit=0.8)
    assert (row.ours, row.reference, row.ratio, row.seconds) == (800, 1000, 0.8, 1.25)
    assert row.holds
    assert not rate("load", 1000, turns, limit=0.81).holds
    assert rate("load", 1000, turns, limit=None).holds


def test_a_duration_and_a_figure_may_not_exceed_theirs():
    assert duration("build", 1000, [(1.0, 5.0)], limit=0.2).holds
    assert not duration("build", 1000, [(1.1, 5.0)], limit=0.2).holds
    assert at_most("p99", 1, 1.9, 2.0, "ms", 1.0).holds
    assert not at_most("p99", 1, 2.1, 2.0, "ms", 1.0).holds
    assert not at_most("p99", 1, float("nan"), 2.0, "ms", 1.0).holds, "what was not measured does not hold"


def test_limits_on_bulk_are_set_for_bulk():
    assert in_bulk(0.7, 99_999, 100_000) is None
    assert in_bulk(0.7, 100_000, 100_000) == 0.7


def test_growth_is_the_exponent_over_sizes():
    linear = [at_most("linear", n, n / 1000, 1.0, "s", None) for n in (1000, 10_000, 100_000)]
    squared = [at_most("squared", n, (n / 1000) ** 2, 1.0, "s", None) for n in (1000, 10_000)]
    once = [at_most("once", 1000, 1.0, 1.0, "s", None)]
    first, second = growth([*linear, *squared, *once])
    assert first.ratio == pytest.approx(1)
    assert first.holds
    assert second.ratio == pytest.approx(2)
    assert not second.holds


@pytest.mark.parametrize(("ours", "code"), [(1.0, 0), (3.0, 1)])
def test_it_exits_with_an_error_where_a_limit_does_not_hold(ours, code, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda *_: [at_most("p99", 1, ours, 2.0, "ms", 1.0)])
    monkeypatch.setattr("sys.argv", ["bench", "--json"])
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert end.value.code == code
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == ["name", "n", "ours", "reference", "unit", "ratio", "limit", "holds"]
    assert row["holds"] is (code == 0)
