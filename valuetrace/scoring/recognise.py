"""What a model folder is: a language model or a reward model, of which class, with which head. Decided by tensors.

A reward model is loaded as its own class where transformers has one (``…ForSequenceClassification`` and the like) and
the folder holds all of its tensors. Otherwise its head is what the folder holds beside the backbone: a published head,
one linear layer, or one MLP, whatever its name. What is ambiguous is refused, with what was found.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.models.configs import sizes
from valuetrace.models.weights import check_folder
from valuetrace.scoring.heads import PUBLISHED, Head, Layers, Linear

LANGUAGE_MODELS = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
CLASSIFIERS: dict[str, Any] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
}
_VALUE_HEAD = "value_head.safetensors"  # some trainers write the head beside the language model's weights
_LABELS = 7919  # no size of a layer: the tensors that have it are those of the labels


@dataclass(frozen=True)
class Found:
    """kind: ``reward`` or ``logprob``. architecture: the class that config.json names. cls: the Auto class that loads
    the model whole; None where backbone and head are loaded apart. outputs: of the head. head: how it is told to
    people. published: the entry of ``heads.PUBLISHED``. tensors: the head's, in order, name → shape."""

    kind: Literal["reward", "logprob"]
    architecture: str
    cls: Any = None
    outputs: int = 1
    head: str = ""
    published: str | None = None
    tensors: dict[str, list[int]] | None = None


def recognise(folder: str | Path, head: str | None = None, output: int | None = None) -> Found:
    """What the folder holds; no weights are read.

    head: a published head by its class name, or ``first_output``. output: which output is the reward, of several; of a
    language model, the logit at the last token that is. InputError for what no head, or no one head, can be read from.
    """
    folder = Path(folder)
    check_folder(folder)
    config = loading.read_config(folder)
    name = (config.get("architectures") or ["(none)"])[0]
    if head is not None and head not in (*PUBLISHED, "first_output"):
        raise InputError(f"--head {head}: no such adapter. There are: {some([*PUBLISHED, 'first_output'], 20)}.")
    with loading.reading(folder, "the model"):
        known = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    extra = _beside_the_backbone(folder, known)
    published = head if head in PUBLISHED else _published(extra, name)
    if published is not None and head != "first_output":
        return Found("reward", name, head=f"{published} ({some(extra, 5)})", published=published, tensors=extra)
    ending = next((ending for ending in CLASSIFIERS if name.endswith(ending)), None)
    if ending and (labels := _labels(CLASSIFIERS[ending], known, extra)):
        _check_output(folder, labels, output, head)
        return Found("reward", name, CLASSIFIERS[ending], labels, f"the class's own ({some(extra, 5)})", tensors=extra)
    if ending and not extra and type(known) in CLASSIFIERS[ending]._model_mapping:  # loading it names what it lacks
        return Found("reward", name, CLASSIFIERS[ending], known.num_labels, "missing", tensors={})
    chain = _chain(extra)
    widths = [shape for shape in (chain or {}).values() if len(shape) == 2]
    if chain and widths[0][1] == sizes(known).hidden:
        labels = widths[-1][0]
        _check_output(folder, labels, output, head)
        layers = "one linear layer" if len(widths) == 1 else "an MLP with ReLU"
        return Found("reward", name, None, labels, f"{layers} ({some(chain, 5)})", tensors=chain)
    if head is not None and name in LANGUAGE_MODELS:
        raise InputError(f"--head {head}: {folder} is a language model ({name}) and has no reward head.")
    if name in LANGUAGE_MODELS and output is not None:
        return Found("reward", name, AutoModelForCausalLM, known.vocab_size, f"logit {output} of the language head")
    if name in LANGUAGE_MODELS:
        return Found("logprob", name)
    beside = f"tensors {some(extra, 10)}, which are not one head" if extra else "no tensor of a reward head"
    raise InputError(
        f"{folder}: config.json names the class {name}, and beside the backbone there are {beside}: one linear layer "
        f"or one MLP is read. Name a published head with --head ({some(PUBLISHED, 3)})."
    )


def load_head(folder: str | Path, found: Found, output: int = 0) -> Head | None:
    """The head of a recognised reward model, float32, evaluation mode; None where its own class alone applies it.

    Raises InputError for a tensor that is missing, of another shape, or not finite.
    """
    folder, config = Path(folder), loading.read_config(folder)
    shapes = found.tensors or {}
    if found.published is not None:
        config = {**config, "hidden_size": sizes(AutoConfig.from_pretrained(folder, trust_remote_code=False)).hidden}
        head = PUBLISHED[found.published](config)
        own = {key: list(value.shape) for key, value in head.state_dict().items()}
        names = {key: key for key in own if not key.endswith("num_batches_tracked")}
        shapes = {key: own[key] for key in names}
    elif found.cls is not None and list(shapes) == ["score.weight"]:
        head = Linear(shapes["score.weight"][1], found.outputs, output)
        names = {"score.weight": "score.weight"}
    elif found.cls is not None:
        return None
    else:
        weights = [name for name in shapes if len(shapes[name]) == 2]
        biases = [name.removesuffix("weight") + "bias" for name in weights]
        widths = [shapes[weights[0]][1], *(shapes[name][0] for name in weights)]
        head = Layers(widths, [bias in shapes for bias in biases], output)
        names = {f"layers.{2 * i}.weight": name for i, name in enumerate(weights)}
        names |= {f"layers.{2 * i}.bias": name for i, name in enumerate(biases) if name in shapes}
    read = read_tensors(folder, shapes, found.published or "the reward head")
    head.load_state_dict({own: read[name] for own, name in names.items()}, strict=False)
    return head.float().eval()


def read_tensors(folder: Path, shapes: dict[str, Any], owner: str) -> dict[str, Tensor]:
    """The tensors named in ``shapes`` from a folder's safetensors files; ``owner`` opens error messages.

    Raises InputError for a tensor that is missing, of another shape, or not finite.
    """
    paths = _stored(folder)
    missing = [name for name in shapes if name not in paths]
    if missing:
        others = [name for name in paths if ".layers." not in name or name.startswith("gating")]
        have = some(others, 10)
        raise InputError(f"{folder}: {owner} needs the tensor {some(missing)}; outside the layers it has {have}.")
    tensors = {}
    for name, shape in shapes.items():
        with loading.reading(paths[name], f"the tensor {name}"), safe_open(paths[name], "pt") as file:
            tensors[name] = file.get_tensor(name)
        if list(tensors[name].shape) != list(shape):
            found = list(tensors[name].shape)
            raise InputError(f"{folder}: {owner} needs {name} of shape {list(shape)}; the file has {found}.")
    loading.check_finite(folder, tensors)
    return tensors


def _check_output(folder: Path, labels: int, output: int | None, head: str | None) -> None:
    if output is not None and not 0 <= output < labels:
        raise InputError(f"--output {output}: the head of {folder} has the outputs 0 to {labels - 1}.")
    if labels > 1 and output is None and head != "first_output":
        raise InputError(
            f"{folder}: the head has {labels} outputs, and nothing says which is the reward or how they are joined. "
            "Say which one with --output N (the first is 0), or name a published head with --head."
        )


def _stored(folder: Path) -> dict[str, Path]:
    paths, beside = loading.stored(folder), folder / _VALUE_HEAD
    if beside.is_file():
        with loading.reading(beside, "the value head"), safe_open(beside, "pt") as file:
            paths = paths | dict.fromkeys(file.keys(), beside)
    return paths


def _beside_the_backbone(folder: Path, config: PreTrainedConfig) -> dict[str, list[int]]:
    """Name → shape of the stored tensors that neither the backbone nor a language head has, by their first names."""
    parts: set[str] = set()
    with loading.reading(folder, "the model"), torch.device("meta"):
        for cls in (AutoModel, AutoModelForCausalLM):
            if type(config) in cls._model_mapping:
                model = cls.from_config(config)
                parts |= {model.base_model_prefix} | {name.split(".")[0] for name in model.state_dict()}
    parts |= {"lm_head", "embed_out"}
    extra: dict[str, list[int]] = {}
    paths = _stored(folder)
    for path in sorted({path for name, path in paths.items() if name.split(".")[0] not in parts}):
        with loading.reading(path, "the weights"), safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                if name.split(".")[0] not in parts:
                    extra[name] = list(file.get_slice(name).get_shape())
    return dict(
        sorted(extra.items(), key=lambda item: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", item[0])])
    )


def _labels(auto: Any, config: PreTrainedConfig, extra: dict[str, list[int]]) -> int | None:
    """How many outputs the class's own head has in the folder; None where its tensors are others than the folder's."""
    if type(config) not in auto._model_mapping:
        return None
    config = copy.deepcopy(config)
    config.num_labels = _LABELS
    with torch.device("meta"):
        model = auto.from_config(config)
    inner = model.base_model_prefix
    own = {name: list(value.shape) for name, value in model.state_dict().items() if name.split(".")[0] != inner}
    if not own.keys() <= extra.keys():
        return None
    found = {extra[name][0] for name, shape in own.items() if shape[:1] == [_LABELS]}
    return found.pop() if len(found) == 1 else None


def _published(extra: dict[str, list[int]], name: str) -> str | None:
    """The published head whose tensors these are, or that config.json names. QRM-Llama 3.1 has ArmoRM's name."""
    tops = {own.split(".")[0] for own in extra}
    if name in PUBLISHED and name != "LlamaForRewardModelWithGating":
        return name
    if tops == {"score", "weights"}:
        return "LlamaForSequenceClassificationWithNormal_Weights"
    if not {"regression_layer.weight", "reward_transform_matrix"} <= extra.keys() and name in PUBLISHED:
        return name
    if not {"regression_layer", "gating"} <= tops:
        return None
    if "reward_transform_matrix" not in extra:
        return "Gemma2ForQuantileSequenceClassification"
    normed = any(own.endswith("running_mean") for own in extra)
    return "LlamaForRewardModelWithGating31" if normed else "LlamaForRewardModelWithGating"


def _chain(extra: dict[str, list[int]]) -> dict[str, list[int]] | None:
    """The tensors, in order, where they are one linear layer or layers that follow each other, with their biases."""
    weights = [name for name, shape in extra.items() if len(shape) == 2 and name.endswith("weight")]
    biases = {name.removesuffix("weight") + "bias" for name in weights}
    follow = all(extra[before][0] == extra[after][1] for before, after in pairwise(weights))
    owners = {re.sub(r"(\.\d+)?\.weight$", "", name) for name in weights}
    others = set(extra) - set(weights)
    return extra if weights and follow and others <= biases and len(owners) == 1 else None
