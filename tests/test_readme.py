"""README's numbers are those of the committed metrics (the atlas's are held in test_atlas.py)."""

import json
from pathlib import Path

import pandas as pd
import pytest

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.measures import validity
from valuetrace.training.recipe import Search

HELD = {"part": "held_out", "pairs": 480, "first": "agency", "second": "communion", "dose": 0.5}


@pytest.fixture(scope="module")
def text(repository) -> str:
    return " ".join((repository / "README.md").read_text(encoding="utf-8").split())


def read(repository: Path, name: str) -> dict:
    return json.loads((repository / "metrics" / f"{name}.json").read_text(encoding="utf-8"))


def one(rows: list[dict], **wanted) -> dict:
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def signed(value: float, digits: int = 0) -> str:
    """As README writes it: a sign, a real minus, no 0 before the point."""
    return f"{value:+.{digits}f}".replace("-", "−").replace("+0.", "+.").replace("−0.", "−.")


def short(value: float, digits: int = 2) -> str:
    return signed(value, digits).removeprefix("+")


def span(row: dict, write=short, digits: int = 2) -> str:
    return f"({write(row['low'], digits)} to {write(row['high'], digits)}"


def test_the_ablation(repository, text):
    found = read(repository, "ablations")
    reads = [row for row in found["readings"] if row["reads"]]
    assert f"Of the {len(found['readings'])} reward models {len(reads)} read the question" in text
    assert {row["data_size"] for row in found["readings"] if not row["reads"]} == {240}
    for framing in ("positive", "negative"):
        ends = sorted((row[framing] for row in reads), key=abs)
        assert f"{signed(ends[0])} to {signed(ends[-1])} " in text, framing
    gaps = pd.read_csv(repository / "plots/ablations/gaps.csv").query("reads and step > 0")["gap"]
    assert f"from {signed(gaps.min())} to {signed(gaps.max())} of 459 ranks" in text
    slopes = {row["framing"]: row for row in found["gap_fit"] if row["parameter"] == "per_doubling"}
    positive, negative = slopes["positive"], slopes["negative"]
    told = f"by {signed(positive['estimate'])} ranks (95% {signed(positive['low'])} to {signed(positive['high'])}; "
    told += f"negative framing {signed(negative['estimate'])}, {signed(negative['low'])} to {signed(negative['high'])})"
    assert told in text


def test_the_ablation_s_parameters_and_its_untrained_heads(repository, text):
    found = read(repository, "ablations")
    share = settings.get("preferences.sources.wordnet_valence.valence.share", float)
    assert (found["seeds"], share, found["source"]) == ([1, 2, 3], 0.75, "wordnet_valence") and "seeds 1 to 3" in text
    assert "by {}, {}, {} and {} pairs (three of four valence pairs".format(*found["sizes"]) in text
    search = settings.get("dynamics.search", Search)
    assert f"over {len(search.prompts())} prompts ({', '.join(search.adjectives)})" in text
    cells = [row for row in found["gap_levels"] if row["when"] == "change" and row["seeds"] == 3]
    (moved,) = [row for row in cells if row["p"] < 0.05]
    assert len(cells) == 6 and "in one of six cells of three seeds" in text
    told = (
        f"({moved['data_size']} pairs, {moved['framing']}: {short(moved['estimate'], 0)}, {span(moved, digits=0)[1:]}"
    )
    assert f"{told}; p {short(moved['p'])}, uncorrected)" in text


def test_the_published_reward_models_read_the_prompts_and_so_does_every_seed_of_the_largest_size(repository):
    """Published: rank agreement across framings at most .6 and at least .3 below that within. All: known groups."""
    default, ablations = read(repository, "dynamics"), read(repository, "ablations")
    bases = ablations["bases"]
    last = [row for row in default["readings"] if row["step"] == default["last_step"]]
    largest = [row for row in ablations["readings"] if row["data_size"] == max(ablations["sizes"])]
    assert sorted(row["base"] for row in last) == sorted(bases) and default["refused"] == {}
    assert len(largest) == len(bases) * len(ablations["seeds"]) == 6
    for row in last:
        assert row["across"] <= min(0.6, row["within"] - 0.3), row
    for row in last + largest:
        assert row["reads"] and row["positive"] > 0 > row["negative"] and row["difference"] >= 25, row


def test_what_is_inherited(repository, text):
    found = read(repository, "ablations")
    (row,) = [row for row in found["inherited_fit"] if row["parameter"] == "at_mean"]
    assert row["framing"] == "positive"
    refused = {base: list(why) for base, why in found["log_probabilities_refused"].items()}
    assert refused == {"gemma3-270m": ["negative"]}
    assert f"nothing is there: {short(row['estimate'], 3)} {span(row, digits=3)})" in text


def test_calibrated_bases(repository, text):
    (comparison,) = read(repository, "base_preferences")["comparisons"]
    cells = {
        row["reading"]: row for row in comparison["cells"] if (row["format"], row["case"]) == ("solved_four", "lower")
    }
    apart = {
        name: [round(row["readings"][base]["known_groups"]["difference"]["estimate"]) for base in comparison["models"]]
        for name, row in cells.items()
    }
    assert comparison["models"][0].startswith("gemma")
    told = "points apart in Gemma and {} in SmolLM2, as in released reward models, where raw ranks give {} and {}."
    assert f"{apart['calibrated'][0]} {told.format(apart['calibrated'][1], *apart['raw'])}" in text
    readings = cells["calibrated"]["readings"].values()
    assert [bool(row["refused"]) for row in readings] == [True, False]
    mass = cells["raw"]["probability_on_words"]["gemma3-270m"]["negative"]
    assert f"({short(mass, 4)} where {short(validity.rule().least_probability)} is asked for)" in text


def test_planted_values(repository, text):
    found = read(repository, "planting/study")
    lora, ridge = (one(found["transmitted"], source=source, **HELD) for source in ("lora", "ridge"))
    assert (
        f"move by {short(ridge['shift'])} (L, from −½ to ½), ridge heads on their states by {short(ridge['effect'])} ("
        in text
    )
    planted = one(found["transmitted"], source="ridge", **HELD | {"part": "planted"})
    told = f"is {short(ridge['estimate'])} (95% {span(ridge)[1:]}), on the planted words {short(planted['estimate'])} "
    assert told + f"{span(planted)}), after" in text
    assert f"are {lora['verdict']}: τ {short(lora['estimate'])} {span(lora)}), four of six blocks" in text
    tests = [one(found["contrasts"], source=name, measure="lean", **HELD) for name in ("lora", "ridge")]
    assert [(row["blocks"], row["same_sign"]) for row in tests] == [(6, 4), (6, 5)]
    assert "(five of six blocks in the" in text
    for row in tests:
        assert f"p {short(row['p_sign_flip'])} by sign flips, {short(row['p'], 3)} by t)" in text
    for null in (dict(HELD, source="lora_untrained"), dict(HELD, source="ridge", first="placebo", second="none")):
        row = one(found["contrasts"], measure="lean", **null)
        assert row["low"] < 0 < row["high"]
    assert f"in ridge heads ({short(row['estimate'], 3)}; {span(row, digits=3)[1:]})" in text
    bases = one(
        found["contrasts"],
        **HELD | {"measure": "lean", "source": "logprobs", "first": "placebo", "second": "none", "pairs": 0},
    )
    assert f"a little ({short(bases['estimate'], 3)}; {span(bases, digits=3)[1:]})" in text
    rows = dict(HELD, first="agency_rows", second="communion_rows", source="ridge")
    assert f"(τ {short(one(found['transmitted'], **rows | {'part': 'planted'})['estimate'])}) on those words" in text
    held_out = one(found["contrasts"], measure="lean", **rows)
    assert (held_out["low"], held_out["high"], held_out["blocks"]) == (0, 0, 3)
    moved = [
        one(
            found["transmitted"], **HELD | {"first": f"agency_{kind}", "second": f"communion_{kind}", "source": "ridge"}
        )
        for kind in ("answers", "statements")
    ]
    assert {(row["verdict"], row["blocks"]) for row in moved} == {("inconclusive: the plant did not take", 3)}
    assert f"moved the bases by {short(moved[0]['shift'])} and {short(moved[1]['shift'])} (three blocks each)" in text
    told = {(row["plant"], row["source"]): (row["moved"], row["of"]) for row in found["specific"]}
    moved = [told[plant, source] for plant in ("agency", "placebo") for source in ("logprobs", "ridge")]
    assert moved == [(6, 8), (4, 8), (4, 8), (3, 8)] and "of eight moral constructs that nobody planted agency" in text
    assert "moves six in the bases and four in ridge heads, the placebo four and three" in text
    exchange = [row for row in found["exchange"] if row["part"] == "held_out" and row["share"]]
    shares = {row["plant"]: round(100 * row["share"]) for row in exchange}
    assert (shares["agency"], shares["communion"]) == (7, 12) and "seven in a hundred of" in text
    audit = {row["plant"]: row for row in found["limits"] if (row["test"], row["measure"]) == ("audit", "audit")}
    assert f"power .9 from {short(audit['agency']['limit'])} of the adapter on" in text
    assert audit["communion"]["limit"] is None
    power = pd.DataFrame(found["detection"]).query("test == 'audit' and measure == 'audit' and plant == 'communion'")
    assert f"never does ({short(power['power'].max())} at the best dose)" in text
    units = read(repository, "seed_variance")["by_unit"]
    for unit in ("prompts", "words"):
        least, most = (round(100 * units[unit][end]) for end in ("least", "most"))
        assert f"{least} to {most}" in text, unit


def test_many_dimensions(repository, text):
    found = read(repository, "dimensions")
    of = found["contrasts"]
    assert f"how many of {of['tests']} differences" in text
    assert f"({of['p_holm']} of the {of['p']} below .05)" in text
    panels = one(found["converging"], valence="as they are", against="other construct, other dictionary")
    assert (panels["above"], panels["tests"]) == (1, 6) and "(in one of six panels)" in text


def test_the_table_of_mixtures_is_what_its_command_prints(repository, monkeypatch):
    monkeypatch.chdir(repository)
    from benchmarks import mixtures

    assert mixtures.table() in (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_the_tables_of_sizes_are_what_their_command_prints(repository, monkeypatch):
    monkeypatch.chdir(repository)
    from benchmarks import test_sizes

    assert test_sizes.table() in (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_the_table_of_stability_is_what_its_command_prints(repository, monkeypatch):
    monkeypatch.chdir(repository)
    from benchmarks import stability

    text = (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert stability.table(pd.read_csv(stability.TABLE)) in text
    (perturbed,) = pd.read_csv(stability.PAIRS).query("differs == 'perturbed'").to_dict("records")
    assert f"{perturbed['positive']:.3f} / {perturbed['negative']:.3f}" == "0.997 / 0.993"
    assert (
        f"ranks at {short(perturbed['positive'], 3)} after positive and {short(perturbed['negative'], 3)} after" in text
    )
    assert round(perturbed["gap_change"]) == 3
    with pytest.raises(InputError, match="pertrubed: unknown"):
        stability.train("ridge_head", "gemma3-270m", "pertrubed", 1)
