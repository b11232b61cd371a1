"""How often the comparison's tests reject in simulated studies, and how often its interval leaves out the truth.

Components of variance are those of the published files (conf/published/variance_components.csv); an effect is a shift
of one construct, up under positive and down under negative prompts, in residual standard deviations: .42 gives the
published three-way coefficient. Every test is of that interaction; tests that draw or fit run in half the studies of
two scenarios.
Out: metrics/test_sizes.json
Run: python -m benchmarks.test_sizes RUNS   (studies a scenario: 2,000 take half an hour of two cores)
     python -m benchmarks.test_sizes   prints the tables of benchmarks/README.md from that file
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import cast

from benchmarks import simulation
from valuetrace.core.files import read_json, write_json
from valuetrace.stats import inference

SEED, ALPHA, OUT = 1, 0.05, "metrics/test_sizes.json"
PUBLISHED = simulation.Truth.published
SCENARIOS = {
    "no effect": PUBLISHED(),
    "no effect, no base × word": PUBLISHED(base_word=0.0),
    "no effect, no two models of a lineage": PUBLISHED(lineages=((), ())),
    "half the published effect": PUBLISHED(effect=0.21),
    "the published effect": PUBLISHED(effect=0.42),
    "twice the published effect": PUBLISHED(effect=0.84),
    "the published effect, 8 and 8 models": PUBLISHED(models=(8, 8), effect=0.42),
    "no effect, 8 and 8 models": PUBLISHED(models=(8, 8)),
}
EXACT = {
    "models as units": simulation.three_way_p,
    "models as units, studentised": partial(simulation.three_way_p, name="p_model_unit_studentised"),
    "models as units, Welch": partial(simulation.three_way_p, name="p_model_unit_welch"),
}
LINEAGES = "lineages as units"
DRAWN = {
    "models as units": simulation.three_way_p,
    "the paper's mixed model": simulation.three_way_mixed_p,
    "mixed model, one difference a prompt, slopes": simulation.three_way_paired_p,
    "random lexicons": simulation.random_lexicon_p,
    "95% interval leaves out 0": simulation.bootstrap_excludes_zero,
}


WITH_DRAWN = ("no effect", "the published effect")
"""Scenarios in which DRAWN is simulated, too: those tests take a second a study."""


def rates(truth: simulation.Truth, runs: int, with_drawn: bool) -> dict[str, dict]:
    exact: dict = dict(EXACT)
    if any(truth.lineages):
        exact[LINEAGES] = partial(simulation.three_way_p, name="p_lineage")
    found = [simulation.p_values(truth, exact, runs, SEED)]
    if with_drawn:
        drawn = simulation.p_values(truth, cast(dict, DRAWN), max(10, runs // 2), SEED)
        drawn["both: models as units and random lexicons"] = drawn[["models as units", "random lexicons"]].max(axis=1)
        found.append(drawn.drop(columns="models as units"))
    result: dict = {}
    for table in found:
        for name, p in table.items():
            count = int((p <= ALPHA).sum())
            low, high = inference.binomial_interval(count, len(p))
            result[name] = {"rate": count / len(p), "low": low, "high": high, "studies": len(p)}
    return result


def main(runs: int) -> None:
    order = sorted(SCENARIOS, key=lambda scenario: scenario not in WITH_DRAWN)  # the long ones first
    with ProcessPoolExecutor() as pool:
        found = pool.map(rates, *zip(*((SCENARIOS[s], runs, s in WITH_DRAWN) for s in order), strict=True))
        result = dict(zip(order, found, strict=True))
    result = {scenario: result[scenario] for scenario in SCENARIOS}
    write_json({"alpha": ALPHA, "seed": SEED, "rejection_rates": result}, OUT)


def table() -> str:
    """Markdown: rejection rates with binomial intervals, a row a scenario; then the tests of DRAWN, a row each."""
    result = read_json(OUT)["rejection_rates"]
    exact = [*EXACT, LINEAGES]
    heads = [test.removeprefix("models as units, ") for test in exact]
    lines = [f"| simulated studies | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for name, tests in result.items():
        lines.append(f"| {name} | " + " | ".join(_rate(tests.get(test)) for test in exact) + " |")
    lines += ["", f"| test | {' | '.join(WITH_DRAWN)} |", "|---" + "|---:" * len(WITH_DRAWN) + "|"]
    for test in result[WITH_DRAWN[0]]:
        if test not in exact:
            lines.append(f"| {test} | " + " | ".join(_rate(result[name][test]) for name in WITH_DRAWN) + " |")
    return "\n".join(lines)


def _rate(row: dict | None) -> str:
    """``.083 (.07 to .10)``; a dash where the test was not made."""
    if row is None:
        return "–"
    rate, low, high = (f"{row[key]:.{digits}f}" for key, digits in (("rate", 3), ("low", 2), ("high", 2)))
    return f"{rate} ({low} to {high})".replace("0.", ".")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(int(sys.argv[1]))
    print(table())
