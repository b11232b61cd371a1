"""Log-probabilities against one plain forward a prompt."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from valuetrace.core.errors import InputError
from valuetrace.models import loading, tiny
from valuetrace.scoring.chat import Format, render
from valuetrace.scoring.logprobs import NotFinite, cut_batches, next_token_logprobs

CHAT = Format("chat", space=False)
PROMPTS = pd.DataFrame(
    {
        "key": ["c", "a", "b", "d"],
        "text": ["What is love?", "What is hate?", "What, in one word, is the greatest thing in the world?", "Who?"],
    }
)
ARCHITECTURES = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


@ARCHITECTURES
def test_equals_a_plain_forward_in_float64(tiny_models, tokenizers, architecture):
    model, tokenizer = tiny_models[architecture], tokenizers[architecture]
    found = next_token_logprobs(model, tokenizer, PROMPTS, CHAT)
    assert list(found.columns) == list(PROMPTS["key"])
    assert (found.dtypes == np.float32).all()
    exact = copy.deepcopy(model).to(torch.float64)
    for row in PROMPTS.itertuples():
        with torch.inference_mode():
            logits = exact(input_ids=torch.tensor([render(tokenizer, CHAT, row.text).prefix])).logits[0, -1]
        np.testing.assert_allclose(found[row.key], (logits - logits.logsumexp(0)).numpy(), atol=1e-4, rtol=0)
    assert np.abs(found["a"] - found["c"]).max() > 0.1  # the prompts differ by far more than the tolerance


@ARCHITECTURES
def test_probabilities_sum_to_one(tiny_models, tokenizers, architecture):
    found = next_token_logprobs(tiny_models[architecture], tokenizers[architecture], PROMPTS, CHAT)
    np.testing.assert_allclose(np.exp(found.to_numpy(np.float64)).sum(axis=0), 1, atol=1e-5)


def test_the_softmax_of_a_bfloat16_model_runs_in_float32(tiny_models, tokenizers):
    model = copy.deepcopy(tiny_models["llama"]).to(torch.bfloat16)
    found = next_token_logprobs(model, tokenizers["llama"], PROMPTS, CHAT)
    assert (found.dtypes == np.float32).all()
    np.testing.assert_allclose(np.exp(found.to_numpy(np.float64)).sum(axis=0), 1, atol=1e-5)


@ARCHITECTURES
def test_the_size_of_a_batch_does_not_matter(tiny_models, tokenizers, architecture):
    arguments = (tiny_models[architecture], tokenizers[architecture], PROMPTS, CHAT)
    alone, together = (next_token_logprobs(*arguments, batch_tokens=size) for size in (1, 10_000))
    np.testing.assert_allclose(alone, together, atol=1e-4, rtol=0)


def test_a_prompt_longer_than_the_context_is_named(tiny_models, tokenizers):
    context = tiny_models["llama"].config.max_position_embeddings
    form, tokenizer = Format("text", space=True), tokenizers["llama"]
    fits = tokenizer.decode([tokenizer.convert_tokens_to_ids("Ġfreedom")] * (context - 1))
    prompts = pd.DataFrame({"key": ["short", "long"], "text": ["Who?", fits]})
    assert len(render(tokenizer, form, fits).prefix) == context
    assert len(next_token_logprobs(tiny_models["llama"], tokenizer, prompts, form).columns) == 2
    prompts.loc[1, "text"] += " freedom"
    with pytest.raises(InputError, match=f"prompt long: {context + 1} tokens, but the model reads at most {context}"):
        next_token_logprobs(tiny_models["llama"], tokenizer, prompts, form)


def test_log_probabilities_that_are_no_numbers_are_named_and_kept(tiny_models, tokenizers):
    """Finite weights may give them: Gemma scales its embeddings, and 1e38 overflows."""
    model, tokenizer = copy.deepcopy(tiny_models["gemma2"]), tokenizers["gemma2"]
    (token,) = tokenizer("freedom", add_special_tokens=False).input_ids
    with torch.no_grad():
        model.get_input_embeddings().weight[token, 0] = 1e38
    prompts = pd.DataFrame({"key": ["fine", "bad"], "text": ["Who?", "freedom?"]})
    with pytest.raises(NotFinite, match=r"8192 log-probabilities are not finite .* token 0 after prompt bad") as raised:
        next_token_logprobs(model, tokenizer, prompts, Format("text", space=True))
    assert np.isfinite(raised.value.scores["fine"]).all()
    assert raised.value.scores["bad"].isna().all()


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 9), max_size=30), st.integers(1, 40))
def test_batches_hold_every_prompt_once_and_pad_nothing(lengths, size):
    batches = cut_batches(lengths, size)
    assert sorted(key for batch in batches for key in batch) == sorted(lengths)
    for batch in batches:
        assert len({lengths[key] for key in batch}) == 1
        assert len(batch) == 1 or sum(lengths[key] for key in batch) <= size


# --- the rows of a score table -------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_vocabulary_names_every_row_of_the_embedding(tokenizers, architecture):
    tokenizer = tokenizers[architecture]
    model = tiny.model(architecture, vocab_size=len(tokenizer) + 3)
    found = loading.vocabulary(model, tokenizer)
    known = found.iloc[:-3]
    assert list(found["token_id"]) == list(range(len(tokenizer) + 3))
    assert [tokenizer.convert_tokens_to_ids(name) for name in known["token_name"]] == list(known["token_id"])
    word = found.set_index("token_decoded")["token_name"]
    assert word[" freedom"] == ("▁freedom" if architecture == "gemma2" else "Ġfreedom")
    assert word["freedom"] == "freedom"
    padding = found.tail(3)
    assert list(padding["token_name"]) == [f"<unused {len(tokenizer) + i}>" for i in range(3)]
    assert list(padding["token_decoded"]) == ["", "", ""]


def test_vocabulary_refuses_an_embedding_that_is_too_small(tokenizers):
    tokenizer = tokenizers["llama"]
    model = tiny.model("llama", vocab_size=len(tokenizer) - 1)
    with pytest.raises(InputError, match="tokenizer and model do not belong together"):
        loading.vocabulary(model, tokenizer)
