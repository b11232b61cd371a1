"""Speed of the whole comparison at the MFD2 study's size, beside a plain loop over draws, in one run.

10 models × 54 prompts × 2,040 words of five constructs, 9,999 permutations a panel, 9,999 bootstrap
draws, 1,000 random lexicons. The plain loop (numpy's median of each resample, scipy's Welch t of each
relabeling) is timed on its first draws and scaled up; both give the same numbers for the same draws
(tests/test_compare.py). Run: python benchmarks/compare.py
"""

import resource
import time

import numpy as np
import pandas as pd
from scipy import stats

from valuetrace import prompts
from valuetrace.measures.compare.effects import FRAMINGS, bootstrap_differences, effects
from valuetrace.measures.compare.inputs import Origin, Table
from valuetrace.measures.compare.random_lexicon import exchange_labels, match_strata, random_medians
from valuetrace.measures.compare.run import DRAWS, LEXICON_DRAWS, compare
from valuetrace.measures.compare.scores import join
from valuetrace.scoring.chat import Format

WORDS, MODELS = 2_040, 10
SHARES = {"authority": 0.18, "care": 0.23, "fairness": 0.16, "loyalty": 0.10, "sanctity": 0.33}


def study(seed: int = 1) -> tuple[list[Table], pd.DataFrame]:
    """Random score tables and a lexicon of made-up words of 3 to 14 letters."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = pd.Index(["".join(rng.choice(letters, size=rng.integers(3, 15))) + f"{i:04d}" for i in range(WORDS)])
    lexicon = pd.DataFrame({"word": words, "construct": rng.choice(list(SHARES), p=list(SHARES.values()), size=WORDS)})
    keys = list(prompts.value_laden()["key"])
    tables = []
    for m in range(MODELS):
        scores = pd.DataFrame(rng.normal(size=(WORDS, len(keys))).astype(np.float32), index=words, columns=keys)
        frame = scores.rename_axis("token_decoded").reset_index().assign(token_id=None, token_name=words)
        origin, form = Origin("A" if m < 4 else "B"), Format("chat", space=False)
        tables.append(Table(f"model{m}", origin, f"model{m}", "", {}, form, frame, {"same_scores": 0}))
    return tables, lexicon


def plain_bootstrap(cube, ranks, draws, rng):
    """One draw at a time: resample models, prompts and words, then take the medians."""
    ranks = ranks.reshape(len(cube.words), len(cube.models), len(cube.prompts))
    for _ in range(draws):
        models = [rng.choice(np.flatnonzero(cube.is_second == side), (cube.is_second == side).sum()) for side in (0, 1)]
        for framing in FRAMINGS:
            columns = np.flatnonzero(cube.framing == framing)
            columns = rng.choice(columns, len(columns))
            for row in cube.member:
                own = rng.choice(np.flatnonzero(row), row.sum())
                first, second = (np.median(ranks[own][:, side][:, :, columns], axis=0).mean() for side in models)
                _ = second - first


def plain_lexicons(cube, ranks, draws, rng):
    """One random lexicon at a time: exchange labels, then take the medians."""
    strata, _ = match_strata(cube.words, cube.words)
    for _ in range(draws):
        for row in exchange_labels(cube.member, strata, 1, rng)[0].astype(bool):
            np.median(ranks[row], axis=0)


def plain_permutations(cube, medians, draws, rng):
    """One relabeling at a time: scipy's Welch t in every panel."""
    for framing in FRAMINGS:
        units = medians[:, :, cube.framing == framing].transpose(1, 2, 0)
        n = int((~cube.is_second).sum()) * units.shape[1]
        for values in units.reshape(-1, len(cube.constructs)).T:
            for _ in range(draws):
                shuffled = rng.permutation(values)
                stats.ttest_ind(shuffled[n:], shuffled[:n], equal_var=False)


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    tables, lexicon = study()
    cube = join(tables, lexicon)
    ranks = cube.ranks()
    medians = cube.medians(ranks)
    rng = np.random.default_rng(0)
    nothing = (pd.Index([]), np.empty((MODELS, len(cube.prompts), 0)))
    rows = [
        (
            "hierarchical bootstrap",
            timed(bootstrap_differences, cube, ranks, DRAWS, 1),
            timed(plain_bootstrap, cube, ranks, 20, rng) / 20 * DRAWS,
            DRAWS,
        ),
        (
            "random lexicons",
            timed(random_medians, cube, ranks, lexicon, *nothing, LEXICON_DRAWS, 1),
            timed(plain_lexicons, cube, ranks, 20, rng) / 20 * LEXICON_DRAWS,
            LEXICON_DRAWS,
        ),
        (
            "permutation Welch t",
            timed(effects, cube, medians, DRAWS, 1),
            timed(plain_permutations, cube, medians, 100, rng) / 100 * DRAWS,
            DRAWS,
        ),
    ]
    print(f"{'':<26}{'draws':>8}{'valuetrace':>12}{'plain loop':>12}{'ratio':>8}")
    for name, fast, slow, draws in rows:
        print(f"{name:<26}{draws:>8,}{fast:>10.1f} s{slow:>10.0f} s{slow / fast:>7.0f}×")
    whole = timed(compare, tables, lexicon, "made up")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"whole comparison: {whole:.1f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
