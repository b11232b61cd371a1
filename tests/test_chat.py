"""The exact token ids of every format, for each family of tokenizers."""

import copy
import json
import random
import resource
import signal
from functools import cache

import pytest
from tokenizers import processors

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import Model
from valuetrace.prompts import value_laden
from valuetrace.scoring import chat, sandbox, spelling

PROMPT = "What is love?"
CHAT = chat.Format("chat", space=False)
TEXT = chat.Format("text", space=True, template="Question: {prompt}\nAnswer:", closing="eos")
QUESTION = "Question: What is love?\nAnswer:"


def split(tokenizer, ids: list[int]) -> list:
    """Special tokens as ids, what stands between them as text; the text must be tokenized as one piece."""
    parts, run = [], []
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    for token in [*ids, None]:
        if token is not None and token not in special:
            run.append(token)
            continue
        if run:
            text = tokenizer.decode(run)
            assert tokenizer(text, add_special_tokens=False).input_ids == run
            parts.append(text)
        parts, run = (parts, []) if token is None else ([*parts, token], [])
    return parts


def without(tokenizer, **changes):
    changed = copy.deepcopy(tokenizer)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


# --- the tiny tokenizers: ids of the special tokens as their lists give them ------------------------
# llama: 1 end_of_text, 2 begin_of_text, 3 start_header, 4 end_header, 5 eot
# gemma: 1 eos, 2 bos, 3 start_of_turn, 4 end_of_turn; qwen2: 1 im_end (EOS), 2 im_start, no BOS
GEMMA_TURNS = [2, 3, "user\nWhat is love?", 4, "\n", 3, "model\n"]
EXPECTED = {
    ("llama", "chat"): ([2, 3, "user", 4, "\n\nWhat is love?", 5, 3, "assistant", 4, "\n\n"], [5]),
    ("gemma2", "chat"): (GEMMA_TURNS, [4, "\n"]),
    ("gemma3", "chat"): (GEMMA_TURNS, [4, "\n"]),
    ("qwen2", "chat"): ([2, "user\nWhat is love?", 1, "\n", 2, "assistant\n"], [1, "\n"]),
    ("llama", "text"): ([2, QUESTION], [1]),
    ("gemma2", "text"): ([2, QUESTION], [1]),
    ("gemma3", "text"): ([2, QUESTION], [1]),
    ("qwen2", "text"): ([QUESTION], [1]),
}


@pytest.mark.parametrize(("architecture", "kind"), EXPECTED)
def test_exact_ids(tokenizers, architecture, kind):
    tokenizer = tokenizers[architecture]
    found = chat.render(tokenizer, CHAT if kind == "chat" else TEXT, PROMPT)
    prefix, closing = EXPECTED[architecture, kind]
    assert split(tokenizer, found.prefix) == prefix
    assert split(tokenizer, found.closing) == closing


def test_text_without_a_closing(tokenizers):
    raw = chat.Format("text", space=True)
    found = chat.render(tokenizers["llama"], raw, PROMPT)
    assert split(tokenizers["llama"], found.prefix) == [2, PROMPT]
    assert found.closing == []


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gemma3"])
@pytest.mark.parametrize("form", [CHAT, TEXT], ids=["chat", "text"])
def test_bos_stands_once_whoever_writes_it(tokenizers, architecture, form):
    """Template and tokenizer, the template alone, the tokenizer alone."""
    ours = tokenizers[architecture]
    expected = chat.render(ours, form, PROMPT).prefix
    assert expected.count(2) == 1
    assert expected[0] == 2
    template = ours.chat_template
    assert "{{ bos_token }}" in template
    tokenizer_alone = without(ours, chat_template=template.replace("{{ bos_token }}", ""))
    assert chat.render(tokenizer_alone, form, PROMPT).prefix == expected
    template_alone = copy.deepcopy(ours)
    template_alone.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    bos_in_text = chat.Format("text", space=True, template=f"{ours.bos_token}{TEXT.template}", closing="eos")
    assert template_alone(PROMPT).input_ids[0] != 2
    assert chat.render(template_alone, CHAT if form is CHAT else bos_in_text, PROMPT).prefix == expected


@pytest.mark.parametrize("form", [CHAT, TEXT], ids=["chat", "text"])
def test_a_tokenizer_that_ends_every_text_ends_the_conversation_once(tokenizers, form):
    ours = tokenizers["llama"]
    ending = copy.deepcopy(ours)
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|end_of_text|>",
        special_tokens=[("<|begin_of_text|>", 2), ("<|end_of_text|>", 1)],
    )
    assert ending(PROMPT).input_ids[-1] == 1
    around, plain = chat.render(ending, form, PROMPT), chat.render(ours, form, PROMPT)
    assert around.prefix == plain.prefix
    assert around.closing == (plain.closing if plain.closing[-1:] == [1] else [*plain.closing, 1])
    assert chat.whole(ending, form, PROMPT, "love")[-len(around.closing) :] == around.closing
    assert chat.encode_reply(ending, form, "love") == chat.encode_reply(ours, form, "love")


def test_an_eos_that_the_format_itself_writes_stays(tokenizers):
    form = chat.Format("text", space=False, template="{prompt}<|end_of_text|>")
    assert split(tokenizers["llama"], chat.render(tokenizers["llama"], form, PROMPT).prefix) == [2, PROMPT, 1]


def test_arguments_reach_the_template(tokenizers):
    dated = without(tokenizers["qwen2"], chat_template="{{ date_string }} " + tokenizers["qwen2"].chat_template)
    form = chat.Format("chat", space=False, arguments={"date_string": "26 Jul 2024"})
    assert split(dated, chat.render(dated, form, PROMPT).prefix)[0] == "26 Jul 2024 "


# --- replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "qwen2"])
@pytest.mark.parametrize(
    ("space", "reply", "text"),
    [(False, "love", "love"), (True, "love", " love"), (True, " love", " love"), (False, " love", " love")],
)
def test_a_reply_begins_as_the_format_says(tokenizers, architecture, space, reply, text):
    form = chat.Format("text", space=space)
    tokenizer = tokenizers[architecture]
    ids = chat.encode_reply(tokenizer, form, reply)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.all_special_ids)
    (token,) = chat.encode_reply(tokenizer, form, "freedom")
    assert tokenizer.decode([token]) == spelling.token_form(form, "freedom") == (" freedom" if space else "freedom")


@pytest.mark.parametrize("form", [CHAT, TEXT], ids=["chat", "text"])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gemma3", "qwen2"])
def test_as_published_doubles_the_bos_where_template_and_tokenizer_write_one(tokenizers, architecture, form):
    tokenizer = tokenizers[architecture]
    around = chat.render(tokenizer, form, PROMPT)
    exact = around.prefix + chat.encode_reply(tokenizer, form, "freedom") + around.closing
    doubled = [2] if form is CHAT and architecture != "qwen2" else []
    assert chat.as_published(tokenizer, form, PROMPT, "freedom") == doubled + exact


def test_as_published_lets_the_template_trim_the_reply(tokenizers):
    tokenizer = tokenizers["llama"]
    trimmed, exact = chat.as_published(tokenizer, CHAT, PROMPT, " love"), chat.encode_reply(tokenizer, CHAT, " love")
    assert trimmed == chat.as_published(tokenizer, CHAT, PROMPT, "love")
    assert tokenizer.decode(exact) == " love"


# --- what cannot be rendered ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        ("{{ raise_exception('no system role') }}", "the chat template failed: .*no system role"),
        ("{% for m in messages %}{{ m.nothing.at_all }}{% endfor %}", "the chat template failed: UndefinedError"),
        ("{{ messages[1]['content'] }}", "drops or repeats the prompt or reply"),
        ("{{ messages[0]['content'] }}", "drops or repeats the prompt or reply"),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "drops or repeats the prompt or reply"),
        ("{% for m in messages + messages %}{{ m['content'] }}{% endfor %}", "drops or repeats the prompt or reply"),
    ],
)
def test_templates_that_cannot_be_scored(tokenizers, template, message):
    with pytest.raises(InputError, match=message):
        chat.render(without(tokenizers["llama"], chat_template=template), CHAT, PROMPT)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'a' * 10**12 }}", "MemoryError"),
        ("{{ '%0999999999999d' | format(1) }}", "MemoryError"),
        ("{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}", "MemoryError"),
        ("{{ 'abc' * 10**6 }}", "MemoryError: it writes 3,000,"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "TimeoutError"),
        ("{{ 9 ** (9 ** 9) % 7 }}", "TimeoutError"),
        ("{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}", "RecursionError"),
    ],
)
def test_a_template_without_end_is_stopped(tokenizers, monkeypatch, template, message):
    monkeypatch.setattr(sandbox, "_SECONDS", 0.2 if message == "TimeoutError" else 60)
    monkeypatch.setattr(sandbox, "_BYTES", 2**27)
    endless = without(tokenizers["llama"], chat_template=template + tokenizers["llama"].chat_template)
    limits, handler = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)
    with pytest.raises(InputError, match=f"the chat template failed: {message}"):
        chat.render(endless, CHAT, PROMPT)
    assert resource.getrlimit(resource.RLIMIT_AS) == limits  # the process goes on as it was
    assert signal.getsignal(signal.SIGALRM) == handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


UNSTEADY = {
    "the date": "{{ strftime_now('%d %b %Y') }}",
    "the hour": "{{ strftime_now('%H') }}",
    "a threshold in time": "{% if strftime_now('%Y') | int > 2030 %}later{% endif %}",
    "chance": "{{ ['heads', 'tails'] | random }}",
    "chance in a word": "{{ lipsum(1) }}",
    "an address": "{{ messages[0].items }}",
}


@pytest.mark.parametrize("case", UNSTEADY)
def test_a_template_that_writes_another_text_each_time_is_refused(tokenizers, case):
    unsteady = without(tokenizers["llama"], chat_template=UNSTEADY[case] + tokenizers["llama"].chat_template)
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(InputError, match=r"another text each time .*date_string"):
            chat.render(unsteady, CHAT, PROMPT)


def test_a_date_is_pinned_by_its_argument(tokenizers):
    """As Llama 3.2's template has it: today's date, unless it is told one."""
    today = "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    dated = without(tokenizers["llama"], chat_template=today + "{{ date_string }}" + tokenizers["llama"].chat_template)
    pinned = chat.Format("chat", space=False, arguments={"date_string": "26 Jul 2024"})
    state = random.getstate()
    assert "26 Jul 2024" in dated.decode(chat.render(dated, pinned, PROMPT).prefix)
    assert random.getstate() == state
    with pytest.raises(InputError, match="another text each time"):
        chat.render(dated, CHAT, PROMPT)


def test_closing_with_an_eos_that_is_not_there(tokenizers):
    with pytest.raises(InputError, match="the tokenizer has no EOS token"):
        chat.render(without(tokenizers["llama"], eos_token=None), TEXT, PROMPT)


# --- the demo bases ------------------------------------------------------------------------------

GREATEST = "What, in one word, is the greatest thing ever?"
SOLVED = (
    "Question: What, in one word, is the colour of the sky?\nAnswer: blue\n\n"
    "Question: What is the opposite of hot? Please answer in one word only.\nAnswer: cold\n\n"
    f"Question: {GREATEST}\nAnswer:"
)
SOLVED_FOUR = SOLVED.replace(
    f"Question: {GREATEST}",
    "Question: What is something pleasant to hear?\nAnswer: music\n\n"
    "Question: What is something unpleasant to hear?\nAnswer: screaming\n\n"
    f"Question: {GREATEST}",
)
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # SmolLM2's template writes it
# fmt: off
DEMO = {
    ("gemma3-270m", "chat"): (
        f"<bos><start_of_turn>user\n{GREATEST}<end_of_turn>\n<start_of_turn>model\n",
        [2, 105, 2364, 107, 3689, 236764, 528, 886, 3658, 236764, 563, 506, 11333, 3210, 3785, 236881, 106, 107, 105,
         4368, 107],
        [106, 107],
    ),
    ("gemma3-270m", "raw"): (
        f"<bos>{GREATEST}",
        [2, 3689, 236764, 528, 886, 3658, 236764, 563, 506, 11333, 3210, 3785, 236881],
        [],
    ),
    ("gemma3-270m", "solved"): (
        f"<bos>{SOLVED}",
        [2, 14977, 236787, 2900, 236764, 528, 886, 3658, 236764, 563, 506, 10348, 529, 506, 7217, 236881, 107, 7925,
         236787, 3730, 108, 14977, 236787, 2900, 563, 506, 11688, 529, 3425, 236881, 7323, 3890, 528, 886, 3658, 1186,
         236761, 107, 7925, 236787, 7445, 108, 14977, 236787, 2900, 236764, 528, 886, 3658, 236764, 563, 506, 11333,
         3210, 3785, 236881, 107, 7925, 236787],
        [],
    ),
    ("gemma3-270m", "solved_four"): (
        f"<bos>{SOLVED_FOUR}",
        [2, 14977, 236787, 2900, 236764, 528, 886, 3658, 236764, 563, 506, 10348, 529, 506, 7217, 236881, 107,
         7925, 236787, 3730, 108, 14977, 236787, 2900, 563, 506, 11688, 529, 3425, 236881, 7323, 3890, 528,
         886, 3658, 1186, 236761, 107, 7925, 236787, 7445, 108, 14977, 236787, 2900, 563, 2613, 23850, 531,
         6899, 236881, 107, 7925, 236787, 4252, 108, 14977, 236787, 2900, 563, 2613, 52794, 531, 6899, 236881,
         107, 7925, 236787, 50622, 108, 14977, 236787, 2900, 236764, 528, 886, 3658, 236764, 563, 506, 11333,
         3210, 3785, 236881, 107, 7925, 236787],
        [],
    ),
    ("smollm2-135m-instruct", "chat"): (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{GREATEST}<|im_end|>\n<|im_start|>assistant\n",
        [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2,
         198, 1, 4093, 198, 1780, 28, 281, 582, 2229, 28, 314, 260, 6250, 2775, 2042, 47, 2, 198, 1, 520, 9531, 198],
        [2, 198],
    ),
    ("smollm2-135m-instruct", "raw"): (
        GREATEST,
        [1780, 28, 281, 582, 2229, 28, 314, 260, 6250, 2775, 2042, 47],
        [],
    ),
    ("smollm2-135m-instruct", "solved"): (
        SOLVED,
        [17872, 42, 1812, 28, 281, 582, 2229, 28, 314, 260, 7302, 282, 260, 6376, 47, 198, 21350, 42, 4461, 198, 198,
         17872, 42, 1812, 314, 260, 7011, 282, 3380, 47, 8765, 2988, 281, 582, 2229, 805, 30, 198, 21350, 42, 4011,
         198, 198, 17872, 42, 1812, 28, 281, 582, 2229, 28, 314, 260, 6250, 2775, 2042, 47, 198, 21350, 42],
        [],
    ),
    ("smollm2-135m-instruct", "solved_four"): (
        SOLVED_FOUR,
        [17872, 42, 1812, 28, 281, 582, 2229, 28, 314, 260, 7302, 282, 260, 6376, 47, 198, 21350, 42, 4461,
         198, 198, 17872, 42, 1812, 314, 260, 7011, 282, 3380, 47, 8765, 2988, 281, 582, 2229, 805, 30, 198,
         21350, 42, 4011, 198, 198, 17872, 42, 1812, 314, 1488, 17267, 288, 4875, 47, 198, 21350, 42, 2477,
         198, 198, 17872, 42, 1812, 314, 1488, 18442, 288, 4875, 47, 198, 21350, 42, 41394, 198, 198, 17872,
         42, 1812, 28, 281, 582, 2229, 28, 314, 260, 6250, 2775, 2042, 47, 198, 21350, 42],
        [],
    ),
}
# fmt: on


load_once = cache(loading.load_tokenizer)


def demo_folder(repository, name: str):
    folder = repository / "data" / "models" / name
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"data/models/{name} is not there; `dvc repro` makes it")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), DEMO)
def test_exact_ids_of_the_demo_bases(repository, name, form):
    folder = demo_folder(repository, name)
    text, prefix, closing = DEMO[name, form]
    formats = settings.get("formats", dict[str, chat.Format], repository / "params.yaml")
    found = chat.render(load_once(folder), formats[form], GREATEST)
    assert found.prefix == prefix
    assert found.closing == closing
    # the ids are those of the text, by the vocabulary in the file alone
    file = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spelt = {i: token for token, i in file["model"]["vocab"].items()}
    spelt |= {added["id"]: added["content"] for added in file["added_tokens"]}
    plain = "".join(spelt[i] for i in prefix)
    assert plain.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n") == text


@pytest.mark.slow
def test_every_declared_format_of_the_demo_bases_is_held(repository):
    rows = settings.get("models", dict[str, Model], repository / "params.yaml")
    bases = settings.get("bases", list[str], repository / "params.yaml")
    assert set(DEMO) == {(name, form) for name in bases for form in rows[name].scoring.formats}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in DEMO}))
def test_the_demo_bases_never_double_the_bos(repository, name):
    tokenizer = load_once(demo_folder(repository, name))
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id)
    formats = settings.get("formats", dict[str, chat.Format], repository / "params.yaml")
    for form in formats.values():
        for prompt in value_laden()["text"]:
            start = chat.render(tokenizer, form, prompt).prefix[:2]
            assert start.count(tokenizer.bos_token_id) <= 1
