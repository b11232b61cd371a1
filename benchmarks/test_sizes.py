"""How often the comparison's tests reject: no base effect, a word-by-word difference, a planted effect.

Prints a table and writes metrics/test_sizes.json. Run: python benchmarks/test_sizes.py [RUNS]
"""

import sys

from valuetrace.analysis.compare import simulation
from valuetrace.core.files import write_json

SEED = 1
SCENARIOS = {
    "no base effect, models differ": simulation.Truth(),
    "no base effect, models alike": simulation.Truth(model=0.0),
    "bases differ word by word, not by construct": simulation.Truth(model=0.1, base_word=0.7),
    "planted effect, 4 and 4 models": simulation.Truth(models=(4, 4), effect=0.25),
    "planted effect, 6 and 6 models": simulation.Truth(models=(6, 6), effect=0.25),
    "planted effect, 8 and 8 models": simulation.Truth(models=(8, 8), effect=0.25),
}
TESTS = {
    "prompts as units": simulation.prompt_unit_p,
    "models as units": simulation.model_unit_p,
    "three-way, mixed model": simulation.three_way_mixed_p,
    "three-way, models as units": simulation.three_way_model_unit_p,
    "random lexicons": simulation.random_lexicon_p,
    "95% interval leaves out 0": simulation.bootstrap_excludes_zero,
}


def main(runs: int) -> None:
    rates = {}
    for scenario, truth in SCENARIOS.items():
        rates[scenario] = {name: simulation.rejection_rate(truth, test, runs, SEED) for name, test in TESTS.items()}
        print(scenario, *(f"{name}: {rate:.3f}" for name, rate in rates[scenario].items()), sep="\n  ", flush=True)
    write_json({"alpha": 0.05, "runs": runs, "seed": SEED, "rejection_rates": rates}, "metrics/test_sizes.json")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
