"""How often the comparison's tests reject in simulated studies, and how often its interval holds the truth.

Components of variance are those of the published files (conf/published/variance_components.csv); an effect is a shift
of one construct under one framing, in residual standard deviations: .42 gives the published three-way coefficient.
Prints a table and writes metrics/test_sizes.json. Run: python benchmarks/test_sizes.py [RUNS] (2,000 studies a cell;
tests that draw lexicons, words or prompts a tenth of them)
"""

import sys

from valuetrace.analysis.compare import simulation
from valuetrace.core.files import write_json
from valuetrace.stats import inference

SEED = 1
PUBLISHED = simulation.Truth.published
SCENARIOS = {
    "no effect": PUBLISHED(),
    "no effect, no base × word": PUBLISHED(base_word=0.0),
    "no effect, no lineage shared": PUBLISHED(lineages=(1, 1)),
    "no effect, 8 and 8 models": PUBLISHED(models=(8, 8)),
    "half the published effect": PUBLISHED(effect=0.21),
    "the published effect": PUBLISHED(effect=0.42),
    "twice the published effect": PUBLISHED(effect=0.84),
    "the published effect, 8 and 8 models": PUBLISHED(models=(8, 8), effect=0.42),
}
EXACT = {
    "models as units": simulation.three_way_model_unit_p,
    "models as units, studentised": simulation.three_way_studentised_p,
    "models as units, Welch": simulation.three_way_welch_p,
    "lineages as units": simulation.three_way_lineage_p,
}
DRAWN = {
    "the paper's mixed model": simulation.three_way_mixed_p,
    "mixed model, one difference a prompt, slopes": simulation.three_way_paired_p,
    "random lexicons": simulation.random_lexicon_p,
    "both: models as units and random lexicons": simulation.both_p,
    "95% interval leaves out 0": simulation.bootstrap_excludes_zero,
}


def main(runs: int) -> None:
    rates = {}
    for scenario, truth in SCENARIOS.items():
        shared = max(truth.lineages) > 1
        tests = {name: (test, runs) for name, test in EXACT.items() if shared or not name.startswith("lineages")}
        tests |= {name: (test, max(10, runs // 10)) for name, test in DRAWN.items()}
        rates[scenario] = {}
        for name, (test, studies) in tests.items():
            rate = simulation.rejection_rate(truth, test, studies, SEED)
            low, high = inference.binomial_interval(round(rate * studies), studies)
            rates[scenario][name] = {"rate": rate, "low": low, "high": high, "studies": studies}
            print(f"{scenario}: {name}: {rate:.3f} ({low:.3f} to {high:.3f})", flush=True)
    write_json({"alpha": 0.05, "seed": SEED, "rejection_rates": rates}, "metrics/test_sizes.json")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
