"""Kinds of reward models (``kinds.KINDS``): an audit, a profile in memory and transformers' own forward agree.

Where they cannot, valuetrace refuses in one line that says what is in doubt. No kind may give other numbers.
"""

from collections.abc import Iterator

import kinds
import numpy as np
import pandas as pd
import pytest
import transformers

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.lexicon import COLUMNS
from valuetrace.monitoring import sample, scores, subject
from valuetrace.subjects import inputs, scorers
from valuetrace.subjects.inputs import Request

PROMPTS = pd.DataFrame(
    {
        "key": ["up", "down"],
        "text": ["What is the best thing in the world?", "What, in one word, is the worst thing ever?"],
        "framing": ["positive", "negative"],
    }
)
WORDS = ["world", "freedom", "self-control", "café"]  # of one token, of several, beyond ASCII
BY_NAME = {kind.name: kind for kind in kinds.KINDS}
ALL = list(BY_NAME)
PADDED = [kind.name for kind in kinds.KINDS if kind.pad in ("own", "eos") and "beyond" not in kind.tokenizer]
IN_MEMORY = [kind.name for kind in kinds.KINDS if kind.head not in kinds.HEADS and kind.adapter != "beside"]


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory) -> Iterator[None]:
    """No known groups are scored along, and there is no params.yaml to read for each kind."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "read_known_groups", lambda: pd.DataFrame(columns=["word", "polarity"]))
        patch.setattr(settings, "ROOT", tmp_path_factory.mktemp("root"))
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a kind by its name, made once."""
    made = {}

    def find(name: str):
        if name not in made:
            made[name] = kinds.make(BY_NAME[name], tmp_path_factory.mktemp("kind"))
        return made[name]

    return find


@pytest.fixture(scope="session")
def asked(tmp_path_factory) -> dict:
    """Words and prompts as files, no references."""
    place = tmp_path_factory.mktemp("asked")
    rows = [(word, "own", "agency", "", word, "noun") for word in WORDS]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(place / "words.csv", index=False)
    PROMPTS.to_csv(place / "prompts.csv", index=False)
    (place / "references").mkdir()
    return {
        "lexicon": str(place / "words.csv"),
        "prompts": str(place / "prompts.csv"),
        "references": place / "references",
        "device": "cpu",
    }


def true(kind: kinds.Kind, place, words: list[str]) -> np.ndarray:
    """(words, prompts): what transformers makes of the folder."""
    return np.array([kinds.truth(place, text, words, kind.output or 0) for text in PROMPTS["text"]]).T


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.ptp(expected))


@pytest.mark.parametrize("name", ALL)
def test_an_audit_gives_the_model_s_own_rewards(name, folder, asked, tmp_path):
    kind, place = BY_NAME[name], folder(name)
    case = "lower" if ALL.index(name) % 5 else "capitalised"
    output = {} if kind.output is None else {"output": kind.output}
    request = Request(str(place), **asked, case=case, out=tmp_path / "out", **output)
    if kind.expected == "refused":
        with pytest.raises(InputError, match=kind.says):
            _scored(request, tmp_path)
        return
    table = _scored(request, tmp_path).set_index("token_decoded")
    words = [word.capitalize() if case == "capitalised" else word for word in WORDS]
    assert_equal(table.loc[words, list(PROMPTS["key"])].to_numpy(), true(kind, place, words))


def _scored(request: Request, tmp_path) -> pd.DataFrame:
    """The audit's score table: all of an audit but its estimate of the cost, its profile and its pictures."""
    table, problem = scorers.load(inputs.resolve(request)).score(tmp_path / "shards", progress=False)
    assert problem is None
    return table


@pytest.mark.parametrize("name", IN_MEMORY)
def test_a_profile_in_memory_gives_the_model_s_own_rewards(name, folder):
    kind, place = BY_NAME[name], folder(name)
    words = [*WORDS, "Wisdom"]
    drawn = sample.Sample(
        PROMPTS,
        pd.DataFrame({"word": words, "construct": "agency", "polarity": ""}),
        pd.DataFrame(columns=["word", "polarity"]),
    )

    def score() -> tuple[pd.DataFrame, str | None]:
        asked = subject.subject(kinds.in_memory(place), kinds.read_tokenizer(place))
        return scores.Scorer(asked, drawn).score()

    if kind.head == "two" or kind.expected == "refused":  # of several outputs a profile has no option
        with pytest.raises(InputError, match="output|label" if kind.head == "two" else kind.says):
            score()
        return
    table, problem = score()
    assert problem is None
    assert_equal(table.loc[words, list(PROMPTS["key"])].to_numpy(), true(kind, place, words))


@pytest.mark.parametrize("name", PADDED)
def test_the_truth_is_the_same_in_a_padded_batch_and_tells_words_and_prompts_apart(name, folder):
    kind, place, prompt = BY_NAME[name], folder(name), PROMPTS["text"][0]
    alone = true(kind, place, WORDS)
    assert_equal(np.array(kinds.padded(place, prompt, WORDS, kind.output or 0)), alone[:, 0])
    assert min(np.std(alone, axis=0).min(), np.std(alone[:, 1] - alone[:, 0])) > 0.01


ODD = ["llama, seen both ways", "pad closes the turn", "llama3, bytes, SEP at the end"]
ODD += [kind.name for kind in kinds.KINDS if kind.adapter and kind.family == "llama" and kind.expected != "refused"]


@pytest.mark.parametrize("name", ODD)
def test_what_makes_a_kind_odd_shows_in_its_rewards(name, folder):
    """Its weights are those of ``llama``: an engine that overlooks the oddity is wrong by more than rounding."""
    usual = true(BY_NAME["llama"], folder("llama"), WORDS)
    assert np.std(true(BY_NAME[name], folder(name), WORDS) - usual) > 0.05


def test_the_kinds_are_sixty_and_more_of_every_family():
    assert len(BY_NAME) == len(kinds.KINDS) >= 60
    assert {kind.family for kind in kinds.KINDS} == set(kinds.DECODERS | kinds.ENCODERS)


@pytest.mark.parametrize("name", ["llama", "gemma", "llama2, ▁ always", "bert"])
def test_words_are_of_one_token_and_of_several(name, folder):
    tokenizer = kinds.read_tokenizer(folder(name))
    lengths = [len(tokenizer(word, add_special_tokens=False).input_ids) for word in WORDS]
    assert lengths[0] == 1 and min(lengths[1:]) > 1
