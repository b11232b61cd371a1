"""Wrong parameters are refused before anything runs, all of them together, each in one line."""

import copy
import re
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from valuetrace import parameters
from valuetrace.core import settings
from valuetrace.core.errors import InputError

PROFILES = ("demo", "paper", "tiny")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_right(composed, profile):
    params = composed(profile)
    assert params["profile"] == profile
    parameters.check(params)


@pytest.fixture(scope="module")
def demo(composed) -> dict:
    return composed("demo")


def changed(params: dict, **changes) -> dict:
    """A copy in which each dotted key (``__`` for the dot) has another value; ``...`` removes it."""
    params = copy.deepcopy(params)
    for key, value in changes.items():
        *folders, last = key.split("__")
        at = params
        for name in folders:
            at = at[name.replace("_of_", "-")]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return params


G, S = "gemma3-270m", "smollm2-135m-instruct"
ROW = "models__gemma3_of_270m"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # sizes, seeds, counts
        ({"data_size": "12x"}, "data_size is '12x'. Give a number of pairs (480, 13k, 106k) or 'full'."),
        ({"data_size": 0}, "data_size is 0. Give a number"),
        ({"data_size": True}, "data_size is True. Give a number"),
        ({"data_size": 15}, "data_size is 15, less than one batch (16 pairs). Raise it, or lower training.batch."),
        ({"data_size": ...}, "data_size is missing. Add it"),
        ({"ablations__sizes": [120, "x"]}, "ablations.sizes[1] is 'x'. Give a number"),
        ({"ablations__sizes": []}, "ablations.sizes is empty; list at least one."),
        ({"ablations__seeds": [1, 1]}, "ablations.seeds names one more than once (1, 1)"),
        ({"ablations__seeds": [1, -2]}, "ablations.seeds is -2. Give 0 or more."),
        ({"training__seed": -1}, "training.seed is -1. Give 0 or more."),
        ({"preferences__seed": -1}, "preferences.seed is -1. Give 0 or more."),
        ({"analysis__draws": 0}, "analysis.draws is 0. Give 1 or more."),
        ({"compare__lexicon_draws": 0}, "compare.lexicon_draws is 0. Give 1 or more."),
        ({"analysis__seed": "1"}, "analysis.seed is '1' (str); it must be an integer."),
        # bases and their rows
        ({"trained": [G]}, "trained names fewer than two different bases. Name two or more"),
        ({"trained": []}, "trained names fewer than two different bases"),
        ({"trained": [G, G]}, f"trained names one more than once ({G}, {G}). Name each once."),
        ({"trained": [G, "x"]}, f"trained: 'x' is not among models ({G}, {S}). Correct it, or add it there."),
        ({"trained": [G, S], "bases": [G]}, f"trained: '{S}' is not among bases"),
        ({"bases": []}, "bases is empty; list at least one."),
        ({"bases": [G, S, S]}, f"bases names one more than once ({G}, {S}, {S})"),
        ({"bases": [G, S, "y"]}, "bases: 'y' is not among models"),
        ({"bases": None}, "bases is None (NoneType); it must be a list."),
        ({"reward_models": ["rm"]}, "reward_models: 'rm' is not among models"),
        ({"models": {}}, f"bases: '{G}' is not among models"),
        ({f"{ROW}__licence": ...}, f"models.{G}.licence is missing."),
        # formats
        ({f"{ROW}__scoring__formats": []}, f"models.{G}.scoring.formats is empty; list at least one"),
        ({f"{ROW}__scoring__formats": ["chat", "cat"]}, f"models.{G}.scoring.formats: 'cat' is not among formats"),
        ({f"{ROW}__scoring__formats": ["chat"]}, f"dynamics.format is solved_four, which models.{G}.scoring.formats"),
        ({"dynamics__format": "sung"}, "dynamics.format: 'sung' is not among formats"),
        ({"format_notes": {"sung": "x"}}, "format_notes: 'sung' is not among formats"),
        ({f"{ROW}__scoring__formats": ["raw"], "models__smollm2_of_135m_of_instruct__scoring__formats": ["chat"]},
         f"analysis.tokens: {G} and {S} share no format"),
        # what is compared
        ({"analysis__comparisons": {}}, "analysis.comparisons is empty; list at least one."),
        ({"analysis__comparisons": {"x": [G, "y"]}}, "analysis.comparisons.x: 'y' is not among bases"),
        ({"analysis__cases": []}, "analysis.cases is empty"),
        ({"analysis__tokens__first": []}, "analysis.tokens.first is empty"),
        ({"analysis__tokens__prompt": "best"}, "analysis.tokens.prompt: 'best' is not among prompts"),
        ({"analysis__tokens__measure": "kl"}, "analysis.tokens: measure 'kl' is not one of llr"),
        ({"analysis__constructs": ["agency", "warmth"]}, "analysis.constructs: 'warmth' is no construct of"),
        ({"dynamics__constructs": ["a", "communion"]}, "dynamics.constructs: 'a' is no construct of"),
        ({"compare__runs__log_probabilities__models": []}, "log_probabilities: models names the models, once each"),
        ({"compare__runs__log_probabilities__models": [G, G]}, "log_probabilities: models names the models, once"),
        ({"compare__runs__log_probabilities__models": [G, "z"]}, "models: 'z' is not among models"),
        ({"compare__runs__log_probabilities__format": None}, "log-probabilities are of one format, rewards of the"),
        ({"compare__runs__log_probabilities__format": "sung"}, "format: 'sung' is not among formats"),
        # lexicons
        ({"analysis__lexicon": "big_five"}, "analysis.lexicon: 'big_five' is not among lexicons (big_two, mfd2"),
        ({"dynamics__search__lexicon": "mfd2_nouns"}, "dynamics.search.lexicon: 'mfd2_nouns' is not among lexicons"),
        ({"rewards__lexicons": ["liwc"]}, "rewards.lexicons: 'liwc' is not among lexicons"),
        ({"preferences__sources__wordnet__exclude": ["x"]}, "preferences.sources.wordnet.exclude: 'x' is not among"),
        ({"compare__runs__log_probabilities__also": ["x"]}, "compare.runs.log_probabilities.also: 'x' is not among"),
        ({"lexicons__known_groups__source": "x"}, "lexicons: known_groups.source 'x' is not among sources"),
        # planted words
        ({"authority__bases": []}, "authority.bases is empty; list at least one."),
        ({"authority__bases": [G, "x"]}, f"authority.bases: 'x' is not among models ({G}, {S})"),
        ({"authority__templates": ["raw", "sung"]}, "authority.templates: 'sung' is not among formats"),
        ({"authority__lexicon": "mfd3"}, "authority.lexicon: 'mfd3' is not among lexicons"),
        ({"authority__settings__small__steps": 0}, "authority.settings.small: steps and batch are at least 1"),
        # words of a list, types, unknown and missing keys
        ({"training__objective": "dpo"}, "training.objective is 'dpo'; it must be 'bradley_terry' or 'grm'."),
        ({"training__batches": 3}, "training.batches: unknown key. Known:"),
        ({"training__batch": 6}, "training: batch (6) must be a multiple of minibatch (4)"),
        ({"preferences__source": "reddit"}, "preferences: source 'reddit' is not among sources"),
        ({"dynamics__search__adjectives": ["greatest"]}, "dynamics.search: adjectives must hold as many of positive"),
        ({"trainng": {}}, "trainng: no such group. Known: profile,"),
        # names
        ({"profile": 7}, "profile is 7 (int); it must be text."),
        ({"profile": "a/b"}, "profile: 'a/b' is no name. Use letters, digits, - and _ alone."),
        ({"formats__1e5": {"kind": "chat", "space": False}}, "formats: '1e5' reads as a number, a truth value or"),
        ({"formats__sung.loud": {"kind": "chat", "space": False}}, "formats: 'sung.loud' is no name."),
        ({"analysis__comparisons": {"on": [G, S]}}, "analysis.comparisons: 'on' reads as a number, a truth value"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(demo, changes, message):
    with pytest.raises(InputError) as error:
        parameters.check(changed(demo, **changes))
    lines = str(error.value).splitlines()
    assert all(line.startswith("params.yaml: ") for line in lines)
    assert [line for line in lines if message in line], lines


@pytest.mark.parametrize("name", [7, 1.5, True, None, "true", "no", "null", "~", "0x10", "12:30", "nan", "1_000"])
@pytest.mark.parametrize("where", ["models", "lexicons__sources__big_two__constructs"])
def test_a_name_that_yaml_may_take_for_something_else(demo, where, name):
    params = changed(demo)
    at = params
    for key in where.split("__"):
        at = at[key]
    at[name] = next(iter(at.values()))
    with pytest.raises(InputError, match=re.escape(f"{where.replace('__', '.')}: {name!r} reads as a number")):
        parameters.check(params)


def test_all_that_is_wrong_is_told_at_once(demo):
    wrong = changed(
        demo,
        data_size="12x",
        trained=[G],
        training__objective="dpo",
        training__batch="many",
        dynamics__draws=0,
        rewards__lexicons=["liwc"],
        **{f"{ROW}__scoring__formats": [], f"{ROW}__label": 3},
    )
    with pytest.raises(InputError) as error:
        parameters.check(wrong)
    lines = str(error.value).splitlines()
    told = ["training.objective", "training.batch", "dynamics: movers", "rewards.lexicons", "trained", f"{G}.label"]
    missing = [key for key in told if not any(key in line for line in lines)]
    assert not missing and len(lines) == len(set(lines)), lines


@pytest.mark.parametrize("junk", ["x", [None], {"x": None}, {3: 4}], ids=str)
def test_no_shape_of_a_group_ends_in_a_traceback(demo, junk):
    groups = [demo | {key: junk} for key in parameters.GROUPS]
    inner = ("analysis", "compare", "models", "lexicons")
    groups += [demo | {key: demo[key] | {name: junk}} for key in inner for name in demo[key]]
    refused = 0
    for params in groups:
        try:
            parameters.check(params)
        except InputError:
            refused += 1
    assert refused >= len(groups) - 3  # "x" is a profile, a lexicon's folder


def test_the_stage_writes_the_same_whatever_the_parameters_and_loads_no_torch(repository, tmp_path, demo):
    """What depends on its file is not run again for a parameter that changes."""
    script = "import sys; from stages.parameters import main; main(); assert 'torch' not in sys.modules"
    (tmp_path / "prompts").symlink_to(repository / "prompts")
    params = OmegaConf.to_yaml(OmegaConf.create(changed(demo, training__seed=2)))
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, env={"PYTHONPATH": str(repository)})
    assert (tmp_path / "metrics" / "parameters.json").read_bytes() == b'{\n  "valid": true\n}\n'


def test_the_groups_are_those_of_params_yaml(repository):
    assert set(settings.load(repository / "params.yaml")) == set(parameters.GROUPS)
