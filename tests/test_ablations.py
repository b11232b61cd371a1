"""Ablations: planted decays, refusals, and collecting from git references."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest

from valuetrace.analysis.ablations import collect as experiments
from valuetrace.analysis.ablations import fit as ablations
from valuetrace.analysis.ablations import inheritance
from valuetrace.core import files
from valuetrace.core.errors import InputError

SIZES = np.repeat([125.0, 250, 500, 1000], 3)
SEEDS = np.tile([1, 2, 3], 4)


def row(size=480, seed=1, framing="positive", gap=-5.0, **other) -> dict:
    told = {"profile": "tiny", "source": "wordnet", "objective": "bradley_terry", "first": "x", "second": "y"}
    told |= {"framing": framing, "data_size": size, "seed": seed, "data_seed": 1, "step": 30, "gap": gap}
    told |= {
        "low": gap - 1,
        "high": gap + 1,
        "words": 459,
        "prompts": 9,
        "accuracy_first": 0.9,
        "accuracy_second": None,
    }
    return told | other


def test_line_without_noise_is_exact():
    fit = ablations.fit_line(SIZES, -20 + 3 * np.log2(SIZES / 125), SEEDS, 50, 1)
    found = fit.parameters.set_index("parameter")
    assert found.loc["per_doubling"].to_numpy() == pytest.approx([3, 3, 3])
    assert found.loc["at_mean"].to_numpy() == pytest.approx([-15.5] * 3)  # the middle of log2(size) is 1.5 doublings up
    assert fit.curve[["data_size", "gap"]].iloc[[0, -1]].to_numpy() == pytest.approx(
        np.array([[125, -20], [1000, -11]])
    )


def test_power_without_noise_is_exact():
    for sign in (1, -1):
        fit = ablations.fit_power(SIZES, sign * 40 * (SIZES / 125) ** -0.5, SEEDS, 50, 1)
        found = fit.parameters.set_index("parameter")["estimate"]
        assert found["exponent"] == pytest.approx(0.5)
        assert found["left_after_doubling"] == pytest.approx(2**-0.5)
        assert found["at_mean"] == pytest.approx(sign * 40 * 2 ** (-1.5 * 0.5))
        assert fit.curve["gap"].iloc[[0, -1]].to_numpy() == pytest.approx([sign * 40, sign * 40 * 8**-0.5])


def test_intervals_cover_a_planted_decay():
    covered = {"line": 0, "power": 0}
    for simulation in range(40):
        rng = np.random.default_rng(simulation)
        gaps = -20 + 3 * np.log2(SIZES / 125) + rng.normal(0, 2, 12)
        line = ablations.fit_line(SIZES, gaps, SEEDS, 200, simulation).parameters.iloc[1]
        covered["line"] += line["low"] <= 3 <= line["high"]
        gaps = 40 * (SIZES / 125) ** -0.5 * np.exp(rng.normal(0, 0.15, 12))
        power = ablations.fit_power(SIZES, gaps, SEEDS, 200, simulation).parameters.iloc[1]
        covered["power"] += power["low"] <= 0.5 <= power["high"]
        assert line["low"] < line["high"]
    assert min(covered.values()) >= 32  # 95% of 40 less what a bootstrap over 12 runs loses


@pytest.mark.parametrize(
    ("sizes", "seeds", "gaps", "reason"),
    [
        ([1, 1, 2, 2], [1, 2, 1, 2], [1.0, 2, 3, 4], "2 data sizes and 2 seeds"),
        ([1, 2, 4], [1, 1, 1], [1.0, 2, 3], "3 data sizes and 1 seeds"),
    ],
)
def test_too_few_runs_are_refused(sizes, seeds, gaps, reason):
    for function in (ablations.fit_line, ablations.fit_power):
        fit = function(sizes, gaps, seeds, 20, 1)
        assert reason in fit.refused
        assert fit.parameters.empty
        assert fit.curve.empty


def test_a_decay_through_zero_is_no_power_law():
    gaps = np.linspace(-3, 3, 12)
    assert "differ in sign" in ablations.fit_power(SIZES, gaps, SEEDS, 20, 1).refused
    assert ablations.fit_line(SIZES, gaps, SEEDS, 20, 1).refused is None


def test_fits_name_groups_counts_and_refusals():
    runs = pd.DataFrame(
        [row(size, seed, gap=-30 + 2 * np.log2(size)) for size in (100, 200, 400) for seed in (1, 2)]
        + [row(100, 1, "negative", 4.0)]
    )
    fit, curve = ablations.fits(runs, 20, 1)
    positive = fit[(fit["framing"] == "positive") & (fit["model"] == "line")].set_index("parameter")
    assert positive.loc["per_doubling", ["estimate", "runs", "sizes", "seeds", "smallest", "largest"]].tolist() == (
        pytest.approx([2, 6, 3, 2, 100, 400])
    )
    negative = fit[fit["framing"] == "negative"]
    assert len(negative) == 2
    assert negative["refused"].str.startswith("1 data sizes").all()
    assert negative["estimate"].isna().all()
    assert set(curve["framing"]) == {"positive"}


def test_later_rows_replace_the_same_run():
    old, new = pd.DataFrame([row(gap=-5.0), row(seed=2)]), pd.DataFrame([row(gap=-7.0)])
    merged = experiments.merge([old, new], ablations.COLUMNS, ablations.KEY)
    assert merged["gap"].tolist() == [-7.0, -5.0]
    assert merged["seed"].tolist() == [1, 2]


@pytest.fixture
def pipeline(tmp_path):
    """A git repository with two experiments of DVC's kind, one without results and one queue entry."""

    def git(*arguments: str, text: str | None = None) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, input=text, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")

    def experiment(name: str, metrics: object) -> None:
        files.write_text(json.dumps(metrics) if metrics is not None else "", tmp_path / experiments.METRICS)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", name)
        git("update-ref", name, "HEAD")

    experiment(f"refs/exps/ab/{'0' * 38}/wide", {"final": [row(500, 1, gap=-3.0), row(500, 1, "negative", 2.0)]})
    experiment(f"refs/exps/cd/{'1' * 38}/empty", None)
    experiment("refs/exps/celery/stash", {"final": [row(999)]})
    (tmp_path / experiments.METRICS).unlink()
    git("add", "-A")
    git("commit", "-q", "-m", "main")
    return tmp_path


def test_collect_reads_experiments_workspace_and_runs(pipeline):
    runs, survival, read = experiments.collect(pipeline)
    assert survival.empty
    assert read == {"experiments": 1, "without_results": ["empty"], "runs": 1}
    assert runs["data_size"].tolist() == [500, 500]  # the queue's entry is no run

    files.write_json({"final": [row(250, 1)]}, pipeline / experiments.METRICS)
    files.write_csv(pd.DataFrame([row(500, 1, gap=9.0), row(1000, 2)]), pipeline / experiments.RUNS)
    metrics = experiments.update(pipeline, experiments.Settings(20, 1))
    runs = pd.read_csv(pipeline / experiments.RUNS)
    assert list(runs.columns) == list(ablations.COLUMNS)
    at = runs[runs["framing"] == "positive"].set_index("data_size")["gap"]
    assert at.to_dict() == {250: -5.0, 500: -3.0, 1000: -5.0}  # the experiment is newer than the table
    assert metrics["runs"] == 3
    assert [group["runs"] for group in metrics["groups"]] == [1, 3]
    assert "refused" in metrics["groups"][0]["line"]
    assert "per_doubling" in metrics["groups"][1]["line"]
    before = (pipeline / experiments.RUNS).read_bytes()
    experiments.update(pipeline, experiments.Settings(20, 1))
    assert (pipeline / experiments.RUNS).read_bytes() == before


def test_a_clone_without_experiments_draws_from_the_committed_runs(tmp_path):
    from valuetrace.figures import ablations as figures
    from valuetrace.figures import style

    with pytest.raises(InputError, match="no run to collect"):
        experiments.collect(tmp_path)
    rows = [row(size, seed, framing, gap) for size, gap in ((100, -9.0), (200, -7.0), (400, -4.0))
            for seed in (1, 2) for framing in ("positive", "negative")]  # fmt: skip
    files.write_csv(pd.DataFrame(rows), tmp_path / experiments.RUNS)
    metrics = experiments.update(tmp_path, experiments.Settings(20, 1))
    assert (metrics["runs"], metrics["experiments"]) == (6, 0)
    assert metrics["groups"][0]["line"]["per_doubling"]["estimate"] == pytest.approx(2.5)
    assert "+2.50 ranks a doubling" in experiments.as_text(metrics)
    style.apply()
    figures.draw(tmp_path / "plots/ablations", {"x": "X", "y": "Y"}, tmp_path)
    assert (tmp_path / "ablations.png").stat().st_size > 10_000
    assert (tmp_path / "inheritance.png").stat().st_size > 10_000  # though no run told of it


def told(seed: int, own: float, other: float) -> dict:
    """metrics/dynamics.json of a run whose reward models of x and y follow their own base and the other so far."""
    run = {"profile": "tiny", "source": "wordnet", "objective": "bradley_terry", "data_size": 100}
    survival = [
        {"base": base, "logprobs_of": of, "framing": framing, "step": step, "words": 20, "prompts": 9}
        | {"spearman": (own if base == of else other) * (step > 0), "low": 0.0, "high": 1.0}
        for base in "xy" for of in "xy" for framing in ("positive", "negative") for step in (0, 10)
    ]  # fmt: skip
    return {"run": run | {"seed": seed, "data_seed": 1}, "last_step": 10, "survival": survival}


def test_inheritance_is_what_runs_share_with_their_own_base_alone():
    runs = [told(1, 0.5, 0.4), told(2, 0.3, 0.3), told(3, 0.4, 0.2), told(3, 0.6, 0.3)]  # the last, once more
    table = experiments.merge([inheritance.last_survival(run) for run in runs], inheritance.COLUMNS, inheritance.KEY)
    assert len(table) == 3 * 8
    assert set(table["step"]) == {10}
    found = inheritance.summary(table, 500, 1)
    assert [(row["base"], row["framing"], row["runs"]) for row in found] == [
        (base, framing, 3) for base in "xy" for framing in ("negative", "positive")
    ]
    assert found[0]["own"] == pytest.approx((0.5 + 0.3 + 0.6) / 3)
    assert found[0]["difference"] == pytest.approx((0.1 + 0.0 + 0.3) / 3)
    assert (found[0]["low"], found[0]["high"]) == pytest.approx((0.0, 0.3))
    few = inheritance.summary(table[table["seed"] < 3], 500, 1)[0]
    assert (few["runs"], few["low"]) == (2, None)


def test_inheritance_is_collected_and_kept(tmp_path):
    from valuetrace.figures import ablations as figures

    files.write_json(told(1, 0.5, 0.4) | {"final": [row(100, 1)]}, tmp_path / experiments.METRICS)
    metrics = experiments.update(tmp_path, experiments.Settings(20, 1))
    assert [part["difference"] for part in metrics["inheritance"]] == pytest.approx([0.1] * 4)
    assert "difference +0.10, 1 runs" in experiments.as_text(metrics)
    files.write_json(told(2, 0.5, 0.1) | {"final": [row(100, 2)]}, tmp_path / experiments.METRICS)
    metrics = experiments.update(tmp_path, experiments.Settings(20, 1))
    assert metrics["inheritance"][0]["difference"] == pytest.approx(0.25)  # the first run stands in the table
    table = pd.read_csv(tmp_path / experiments.INHERITANCE)
    title = figures.own_or_any(table, {"x": "X", "y": "Y"}).get_suptitle()
    assert title.endswith("2 runs, 20 words")
