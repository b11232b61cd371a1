"""The one place that turns a prompt and a reply into token ids.

A *format* is declared in conf/ and says how a question is put to a model; ``render`` splits the
conversation at the reply: ``prefix`` (everything before it), the reply, ``closing`` (everything after
it). The log-probability of a reply is read after the prefix. ``whole`` is the same conversation as the
tokenizer itself encodes it, in one piece: what the split one is held against (``scoring.reference``).
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

    kind: ``chat`` (the tokenizer's chat template), ``text`` (``template`` with ``{prompt}``) or ``pair`` (prompt and
    reply as the two sentences of an encoder). space: whether a reply begins with a space (after "Answer:") or bare
    (after a newline or a header): it decides which form of a word counts as the reply. closing: what ends the reply in
    ``text`` formats, ``eos`` or nothing (a chat template brings its own).
    """

    kind: Literal["chat", "text", "pair"]
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

    The special tokens that the tokenizer puts around a text stand once around the conversation, whichever of the
    template and the tokenizer writes them (not at all where neither does). Raises InputError where the tokenizer has
    no chat template, or where the template fails, or loses or repeats the prompt or the reply.
    """
    if form.kind == "pair":
        ids, own = _pair(tokenizer, prompt, "a"), _encode(tokenizer, "a")
        at = _find(own, ids, last=True)
        return Conversation(ids[:at], ids[at + len(own) :])
    before, after = _texts(tokenizer, form, prompt)
    begin, end = _surroundings(tokenizer)
    # with the tokenizer's own special tokens: some chat templates leave the BOS to it (Skywork's)
    prefix, closing = _encode(tokenizer, before), _encode(tokenizer, after)
    if form.kind == "text" and form.closing == "eos":
        if tokenizer.eos_token_id is None:
            raise InputError("the format closes the reply with EOS but the tokenizer has no EOS token")
        closing = [tokenizer.eos_token_id]
    return Conversation(_once(begin, prefix, []), _once([], closing, end))


def encode_reply(tokenizer: PreTrainedTokenizerBase, form: Format, reply: str) -> list[int]:
    """The token ids of a reply's own text, with the leading space that the format asks for.

    Tokenized apart from the prompt (``exact`` tokenisation): a word is the same ids in every prompt.
    """
    return _encode(tokenizer, f" {reply}" if form.space and not reply.startswith(" ") else reply)


def whole(tokenizer: PreTrainedTokenizerBase, form: Format, prompt: str, reply: str) -> list[int]:
    """All token ids of a conversation that the tokenizer encodes in one piece, its special tokens once around it.

    A reply's ids then depend on its neighbours: SentencePiece puts a ▁ before a text but not within one, and byte-level
    tokens join a word to the space before it.
    """
    if form.kind == "pair":
        return _pair(tokenizer, prompt, reply)
    begin, end = _surroundings(tokenizer)
    return _once(begin, _encode(tokenizer, _conversation_text(tokenizer, form, prompt, reply)), end)


def second_sentence(tokenizer: PreTrainedTokenizerBase, form: Format, ids: list[int], prompt: str, reply: str) -> int:
    """Where the second sentence of a pair begins, for models that embed which sentence a token is of; −1 without."""
    if form.kind != "pair" or "token_type_ids" not in tokenizer.model_input_names:
        return -1
    types = list(tokenizer(prompt, reply, return_token_type_ids=True).token_type_ids)
    return types.index(1) if len(types) == len(ids) and 1 in types else -1


def as_published(tokenizer: PreTrainedTokenizerBase, form: Format, prompt: str, reply: str) -> list[int]:
    """All token ids as the authors' released scores were made: render to text, tokenize again.

    The tokenizer adds its special tokens to a text in which the template already wrote them, so the
    BOS is doubled wherever the template emits one, and templates that trim the reply change it.
    """
    if form.kind == "pair":
        return _pair(tokenizer, prompt, reply)
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


def _pair(tokenizer, prompt: str, reply: str) -> list[int]:
    return list(tokenizer(prompt, reply).input_ids)


def _surroundings(tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and behind a text."""
    own, around = _encode(tokenizer, "a"), list(tokenizer("a").input_ids)
    at = _find(own, around)
    return around[:at], around[at + len(own) :]


def _find(own: list[int], ids: list[int], last: bool = False) -> int:
    """Where ``own`` stands in ``ids``. InputError where it does not."""
    places = [i for i in range(len(ids) - len(own) + 1) if ids[i : i + len(own)] == own]
    if not places:
        raise InputError("the tokenizer's special tokens change the tokens of the text between them")
    return places[-1 if last else 0]


def _once(begin: list[int], ids: list[int], end: list[int]) -> list[int]:
    """``ids`` between ``begin`` and ``end``, each of which they may have already."""
    ids = ids if ids[: len(begin)] == begin else begin + ids
    return ids if not end or ids[-len(end) :] == end else ids + end
