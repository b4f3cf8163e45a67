"""The promises about error, kept by the code that decides; few runs here, docs/statistics.md has 2,000."""

import json
import math
from functools import partial
from io import StringIO

import numpy as np
import pytest
from hrloop import usecase
from hrloop.cli import app, statistics
from hrloop.evaluation import simulation
from hrloop.settings import PROJECT
from rich.console import Console
from typer.testing import CliRunner

RUNS = 150


@pytest.fixture(scope="module")
def use_case():
    return usecase.load("recruitment", PROJECT)


def shares(run, runs: int = RUNS, seed: int = 1) -> np.ndarray:
    return np.mean(list(simulation.outcomes(run, runs, seed)), axis=0)


def at_most(rate: float, runs: int = RUNS) -> float:
    """What a share of this true rate exceeds by chance once in two hundred times."""
    return rate + 2.6 * math.sqrt(rate * (1 - rate) / runs)


@pytest.mark.parametrize("volume", simulation.VOLUMES)
def test_a_worse_version_is_hardly_ever_promoted(use_case, volume):
    for name, runs in (("worse", RUNS), ("slightly worse", RUNS // 2)):
        run = partial(
            simulation.experiment,
            use_case=use_case,
            volume=volume,
            noise=simulation.VERSIONS[name],
            looks=simulation.looks_of(use_case),
        )
        promoted, _, _, _ = shares(run, runs)
        assert promoted <= at_most(0.03, runs)


def test_an_equal_version_is_promoted_within_the_error_and_a_daily_z_test_is_not(use_case):
    run = partial(
        simulation.experiment,
        use_case=use_case,
        volume=1_000,
        noise=simulation.VERSIONS["equal"],
        looks=simulation.looks_of(use_case),
    )
    promoted, _, naive_promoted, naive_found = shares(run)
    assert promoted <= at_most(0.03)
    assert naive_promoted > at_most(0.05)
    assert naive_found > 0.19


def test_a_year_of_equal_candidates_keeps_the_budget(use_case):
    looks = simulation.looks_of(use_case)
    lucky = np.array(
        list(simulation.outcomes(partial(simulation.year, use_case=use_case, looks=looks), RUNS, 2))
    )
    *rhythms, by_the_month = lucky.T
    assert len(rhythms) == len(simulation.YEAR)
    for promotions, budget in ((sum(rhythms), 0.5), (by_the_month, 0.26)):
        assert promotions.mean() <= budget + 2.6 * promotions.std(ddof=1) / math.sqrt(RUNS)


def test_pairing_has_the_power_that_two_samples_lack():
    paired, unpaired = shares(partial(simulation.power_of, n=300, noise=1.0, alpha=0.025))
    assert paired > 0.5
    assert unpaired < 0.3


@pytest.mark.parametrize("n", [60, 300])
def test_the_paired_interval_errs_as_declared(n):
    missed = shares(
        partial(simulation.missed, draw=partial(simulation.scored, n=n, noise=1.4), truth=0.0), 1000
    )
    for level, sides in zip(simulation.LEVELS, (missed[:2], missed[2:]), strict=True):
        assert max(sides) <= at_most(level, 1000)


def test_harm_holds_at_thirty_labels():
    (shown,) = shares(partial(simulation.harm_shown, n=30, noise=1.4, alpha=0.05), 400)
    assert shown <= at_most(0.05, 400)


def test_the_world_is_as_hard_as_it_says():
    drawn = simulation.scored(np.random.default_rng(0), 100_000, simulation.WORLD.noise)
    base_rate = np.average(drawn.label, weights=drawn.weight)
    assert base_rate == pytest.approx(simulation.WORLD.base_rate, abs=0.01)
    brier = np.average(np.square(drawn.label - drawn.reference), weights=drawn.weight)
    assert brier == pytest.approx(0.20, abs=0.005)
    for low, high in [(0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]:  # calibrated for all who were decided on
        inside = (drawn.reference >= low) & (drawn.reference < high)
        means = [np.average(v[inside], weights=drawn.weight[inside]) for v in (drawn.label, drawn.reference)]
        assert means[0] == pytest.approx(means[1], abs=0.02)
    assert drawn.weight.max() <= 1.05 * simulation.WORLD.heaviest


def test_the_same_seed_gives_the_same_figures_on_any_number_of_processes():
    run = partial(simulation.power_of, n=100, noise=1.0, alpha=0.025)
    one, two = (list(simulation.outcomes(run, 30, 7, workers)) for workers in (1, 2))
    assert one == two
    assert one != list(simulation.outcomes(run, 30, 8))


def test_the_command_prints_every_table():
    found = CliRunner().invoke(app, ["statistics", "recruitment", "--runs", "2", "--json"])
    assert found.exit_code == 0, found.output
    tables = json.loads(found.stdout)
    assert {(row["labels_a_month"], row["version"]) for row in tables["experiment"]} == {
        (volume, version) for volume in simulation.VOLUMES for version in simulation.VERSIONS
    }
    assert [row["rhythm"] for row in tables["year"]] == [
        "weekly",
        "monthly",
        "quarterly",
        "all",
        "weekly, labels once a month",
    ]
    printed = StringIO()
    statistics.show(tables, Console(file=printed, width=130))
    assert "promotions by luck" in printed.getvalue()
