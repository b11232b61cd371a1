"""The one place that turns a prompt and a reply into token ids.

A *format* is declared in conf/ and says how a question is put to a model; ``render`` splits the
conversation at the reply: ``prefix`` (everything before it), the reply, ``closing`` (everything after
it). The log-probability of a reply is read after the prefix; the reward is read at the last token of
the closing (of the reply, where nothing closes it). Both positions are known, never searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from valuetrace.core.errors import InputError
from valuetrace.scoring import sandbox

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stands for a text while a template is rendered, so that the two sides can be cut apart. Letters only:
# templates trim and escape other characters.
_REPLY = "valuetraceREPLYvaluetrace"


@dataclass(frozen=True)
class Format:
    """How a prompt is put before a model.

    kind: ``chat`` (the tokenizer's chat template) or ``text`` (``template`` with ``{prompt}``). space: whether a reply
    begins with a space (after "Answer:") or bare (after a newline or a header): it decides which form of a word counts
    as the reply. closing: what ends the reply in ``text`` formats, ``eos`` or nothing (a chat template brings its own).
    """

    kind: Literal["chat", "text"]
    space: bool
    template: str = "{prompt}"
    closing: Literal["eos", "none"] = "none"
    arguments: dict[str, str | bool] = field(default_factory=dict)

    def __post_init__(self):
        if self.kind == "text" and self.template.count("{prompt}") != 1:
            raise ValueError("template must hold {prompt} exactly once")


@dataclass(frozen=True)
class Conversation:
    """Token ids before and after the reply; ``decoded`` forms are for people and error messages."""

    prefix: list[int]
    closing: list[int]


def render(tokenizer: PreTrainedTokenizerBase, form: Format, prompt: str) -> Conversation:
    """The token ids around the reply to ``prompt``.

    The beginning-of-sequence token stands once at the start, whichever of the template and the
    tokenizer puts it there (not at all where neither does). Raises InputError where the tokenizer has
    no chat template, or where the template fails, or loses or repeats the prompt or the reply.
    """
    before, after = _texts(tokenizer, form, prompt)
    # with the tokenizer's own special tokens: some chat templates leave the BOS to it (Skywork's)
    prefix = list(tokenizer(before).input_ids)
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    if prefix and prefix[-1] == eos and not before.endswith(tokenizer.eos_token or "\0"):
        prefix = prefix[:-1]  # a tokenizer that ends every text with EOS would end the prompt
    if bos is not None and prefix[:2] == [bos, bos]:
        prefix = prefix[1:]
    if form.kind == "chat":
        return Conversation(prefix, _encode(tokenizer, after))
    if form.closing == "eos":
        if eos is None:
            raise InputError("the format closes the reply with EOS but the tokenizer has no EOS token")
        return Conversation(prefix, [eos])
    return Conversation(prefix, [])


def encode_reply(tokenizer: PreTrainedTokenizerBase, form: Format, reply: str) -> list[int]:
    """The token ids of a reply's own text, with the leading space that the format asks for.

    Tokenized apart from the prompt (``exact`` tokenisation): a word is the same ids in every prompt.
    """
    return _encode(tokenizer, f" {reply}" if form.space and not reply.startswith(" ") else reply)


def as_published(tokenizer: PreTrainedTokenizerBase, form: Format, prompt: str, reply: str) -> list[int]:
    """All token ids as the authors' released scores were made: render to text, tokenize again.

    The tokenizer adds its special tokens to a text in which the template already wrote them, so the
    BOS is doubled wherever the template emits one, and templates that trim the reply change it.
    """
    return list(tokenizer(_conversation_text(tokenizer, form, prompt, reply)).input_ids)


def _texts(tokenizer, form: Format, prompt: str) -> tuple[str, str]:
    if form.kind == "text":
        return form.template.replace("{prompt}", prompt), ""
    # The prompt is rendered as itself: templates trim it, and its tokens depend on its neighbours.
    text = _conversation_text(tokenizer, form, prompt, _REPLY)
    before, found, after = text.partition(_REPLY)
    if not found or _REPLY in after or prompt.strip() not in before:
        raise InputError("the chat template drops or repeats the prompt or reply; it cannot be scored in a chat format")
    return before, after


def _conversation_text(tokenizer, form: Format, prompt: str, reply: str) -> str:
    if form.kind == "text":
        closing = (tokenizer.eos_token or "") if form.closing == "eos" else ""
        reply = f" {reply}" if form.space and not reply.startswith(" ") else reply
        return form.template.replace("{prompt}", prompt) + reply + closing
    if not tokenizer.chat_template:
        raise InputError(
            "the tokenizer has no chat template. Give the model's row a 'chat_template', or use a text format."
        )
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]

    def write() -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, **form.arguments)

    template = (str(tokenizer.chat_template), str(sorted(form.arguments.items())))
    return sandbox.guarded(write, template, prompt, len(prompt) + len(reply))


def _encode(tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)
