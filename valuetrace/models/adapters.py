"""Adapters of PEFT as the field's tools save them: read, put on their base, checked, and merged into it.

Every tensor of the adapter is used and every one that it should have is there (peft only warns), the merged model gives
what the adapted one gave, and no code, no pickle and no random head comes in. All else is one InputError with a remedy.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.models import loading

if TYPE_CHECKING:  # torch and transformers take seconds to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MODEL_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
_HEAD = re.compile(r"base_model\.model\.(score|classifier)(\.out_proj)?\.weight")
_BASE_HEAD = re.compile(r"(score|classifier)\.")

# What a base was pretrained with, and a classifier with a head of its own does not use.
_PRETRAINING = re.compile(r"(lm_head|embed_out|cls|decoder\.(weight|bias)$|(\w+_)?predictions)(\.|$)")

_NOT_MERGED = {
    "alora_invocation_tokens": "acts behind certain tokens only",
    "arrow_config": "chooses among adapters at each token",
    "megatron_config": "needs Megatron's layers",
}
"""A key of adapter_config.json that is set → why no merged model has the numbers of the adapted one."""

_REDONE = re.compile(r"pissa_niter|corda|loftq|lora_ga")  # initialisations that change the base, at random or from data
_TOLERANCE = {"float32": 1e-3}  # of the largest logit, adapted against merged; half precision rounds the sum of weights
_HALF_TOLERANCE = 0.1


@dataclass(frozen=True)
class Saved:
    """What an adapter's folder holds. keys: of adapter_config.json; shapes: of the tensors by their names."""

    folder: Path
    keys: dict[str, Any]
    shapes: dict[str, list[int]]

    @property
    def head(self) -> tuple[str, int] | None:
        """The saved reward head: its module and how many outputs it has. None where the adapter saved none."""
        found = ((_HEAD.fullmatch(name), shape) for name, shape in self.shapes.items())
        return next(((match[1], shape[0]) for match, shape in found if match), None)


def holds_adapter(folder: str | Path) -> bool:
    """Whether a folder is an adapter's. InputError where it is a model's as well, which reads differ.

    A config.json without weights (axolotl saves one beside the adapter) makes no model.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        return False
    weights = sorted(path.name for pattern in _MODEL_WEIGHTS for path in folder.glob(pattern))
    if weights and (folder / "config.json").is_file():
        raise InputError(
            f"{folder}: both a model (config.json, {some(weights, 2)}) and an adapter ({CONFIG}). To audit the adapter "
            f"over its base, move config.json and {some(weights, 2)} away; to audit the model as it stands (merged), "
            f"delete {CONFIG} and {WEIGHTS}."
        )
    return True


def read(folder: Path) -> Saved:
    """An adapter's folder, no weights read. InputError where it cannot be merged, and where it has no safetensors."""
    from safetensors import safe_open

    path = folder / CONFIG
    keys = settings.build(dict[str, Any], files.read_json(path), str(path))
    _configuration(folder, keys)
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        why = "its weights are pickled, and no pickle is read" if pickled else "the adapter's weights are missing"
        remedy = "Save it again with peft: save_pretrained(folder)" + ("" if pickled else ", or fetch the file")
        raise InputError(f"{folder}: no {WEIGHTS}: {why}. {remedy}.")
    with loading.reading(folder / WEIGHTS, "the adapter"), safe_open(folder / WEIGHTS, "pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return Saved(folder, keys, shapes)


def find_base(saved: Saved) -> str:
    """The base that ``base_model_name_or_path`` names: a folder (as written, or seen from the adapter's), or its name.

    InputError for none, and for the path of another machine.
    """
    named, path = saved.keys.get("base_model_name_or_path"), saved.folder / CONFIG
    if not isinstance(named, str) or not named:
        raise InputError(f"{path}: names no base. Write its folder or Hub id into 'base_model_name_or_path'.")
    if Path(named).is_dir():
        return named
    if (saved.folder / named).is_dir():
        return str(saved.folder / named)
    if named.count("/") > 1 or named.startswith(("/", ".", "~")) or "\\" in named:
        raise InputError(
            f"{path}: 'base_model_name_or_path' is {named}, which is not on this machine. Write the base's folder or "
            "Hub id there."
        )
    return named


def kind(saved: Saved, base: Path) -> Literal["reward", "logprob"]:
    """What the adapter makes of its base: a reward model or a language model.

    A saved head decides, then the task, then the base's class. InputError for another task, for a reward model whose
    head nobody saved, and for a base that is an adapter itself or quantised.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    path, task = saved.folder / CONFIG, saved.keys.get("task_type")
    if task not in (None, "SEQ_CLS", "CAUSAL_LM"):
        raise InputError(f"{path}: task_type {task} is neither a reward model's (SEQ_CLS) nor a language model's.")
    if holds_adapter(base):
        raise InputError(f"{path}: the base {base} is an adapter itself. Merge that one into its own base first.")
    config = loading.read_config(base)
    if "quantization_config" in config:
        raise InputError(
            f"{path}: the base {base} is quantised, and merging would round the adapter away. Write the folder or Hub "
            "id of the base in full precision into 'base_model_name_or_path'."
        )
    architecture = (config.get("architectures") or ["(none)"])[0]
    if saved.head is not None:
        return "reward"
    if task == "SEQ_CLS" or architecture.endswith("ForSequenceClassification"):
        if not any(map(_BASE_HEAD.match, loading.stored(base))):
            raise InputError(
                f"{saved.folder}: no reward head: neither the adapter nor its base {base} has score.weight or "
                "classifier.weight. Save the adapter with its head (modules_to_save=['score'])."
            )
        return "reward"
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        raise InputError(f"{path}: the base {base} ({architecture}) is no language model, and no reward head is saved.")
    return "logprob"


def tokenizer_folder(folder: Path, base: Path) -> Path:
    """Where the tokenizer is: the adapter's folder where that has one (trl saves it there), else the base's."""
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    return folder if own else base


def merged(saved: Saved, base: Path, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base with the adapter merged into it, evaluation mode, and its tokenizer; ``options`` as of ``loading.load``.

    A reward model has as many outputs as the saved head. transformers reads a reward at the rightmost token that is not
    ``config.pad_token_id``, which peft does not save. trl sets it to the tokenizer's pad token (EOS where there was
    none) and saves the tokenizer: so ``pad_token_id`` becomes that of the tokenizer in the adapter's folder, if any.
    Raises InputError where adapter and base do not fit, or the merged model gives other logits than the adapted one.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    own: dict[str, Any] = {"cls": AutoModelForCausalLM}
    if kind(saved, base) == "reward":
        own = {"cls": AutoModelForSequenceClassification}
        if saved.head is not None:
            unused = [name for name in loading.stored(base) if _PRETRAINING.match(name)]
            own |= {"num_labels": saved.head[1], "fresh": (f"{saved.head[0]}.",), "elsewhere": unused}
    model = loading.load(base, **own, **options)
    where = tokenizer_folder(saved.folder, base)
    tokenizer = loading.load_tokenizer(where)
    if where == saved.folder and tokenizer.pad_token_id is not None:
        for config in (model.config, model.config.get_text_config()):
            config.pad_token_id = tokenizer.pad_token_id
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft warns of is checked
        return _merge(saved, model, base), tokenizer


def _configuration(folder: Path, keys: dict[str, Any]) -> Any:
    """peft's configuration. InputError for what cannot be merged, and for keys that this version does not know."""
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    path, name = folder / CONFIG, keys.get("peft_type")
    if name not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise InputError(f"{path}: peft_type {name!r:.60} is not known to the installed peft. Upgrade peft.")
    known = {"runtime_config", *PEFT_TYPE_TO_CONFIG_MAPPING[name].__dataclass_fields__}
    if newer := sorted(key for key, value in keys.items() if value and key not in known):
        raise InputError(f"{path}: {some(newer)} not known to the installed peft. Upgrade peft, or delete the key.")
    refused = f"{path}: a {name} adapter "
    for key, why in _NOT_MERGED.items():
        if keys.get(key):
            raise InputError(f"{refused}with {key} {why} and cannot be merged into its base. Train without it.")
    start = str(keys.get("init_lora_weights"))
    if _REDONE.match(start):
        raise InputError(
            f"{refused}with init_lora_weights {start} belongs to a base that training changed. Save it again with "
            "peft: save_pretrained(folder, path_initial_model_for_weight_conversion=…)."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config: Any = PeftConfig.from_peft_type(
                **{k: v for k, v in keys.items() if k in known - {"runtime_config"}}
            )
        except Exception as error:
            raise InputError(f"{refused}that peft does not read ({_line(error)}). Fetch the file again.") from error
    tuner = PEFT_TYPE_TO_TUNER_MAPPING[name]
    if config.is_prompt_learning or name == "XLORA" or not hasattr(tuner, "merge_and_unload"):
        what = "is a trained prompt" if config.is_prompt_learning else "computes beside the base's layers"
        raise InputError(f"{refused}{what} and cannot be merged into its base. Train LoRA, or another that merges.")
    config.inference_mode = True
    return config


def _merge(saved: Saved, model: Any, base: Path) -> Any:
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    folder, config = saved.folder, _configuration(saved.folder, saved.keys)
    with loading.reading(folder / WEIGHTS, "the adapter"):
        found = load_file(folder / WEIGHTS)
    tensors = {name: tensor for name, tensor in found.items() if not _twice(name, found)}
    loading.check_finite(folder, tensors)

    def misfit(why: str) -> InputError:
        told = f"{folder}: the adapter does not fit its base {base} ({why:.300}). "
        return InputError(told + f"Correct 'base_model_name_or_path' in {CONFIG}, or fetch the adapter again.")

    if saved.head is not None and hasattr(config, "modules_to_save"):  # older configurations do not name it
        config.modules_to_save = sorted({*(config.modules_to_save or ()), saved.head[0]})
    _resize(saved, model, misfit)
    try:
        adapted: Any = PeftModel(model, config).eval()
        report = cast(Any, set_peft_model_state_dict(adapted, tensors))
        own = adapted.state_dict()
        wanted = get_peft_model_state_dict(adapted, state_dict=own, save_embedding_layers=False)
    except KeyError as error:
        raise misfit(f"it lacks {error.args[0]}") from error
    except Exception as error:
        raise misfit(_line(error)) from error
    saveable = {id(tensor) for tensor in wanted.values()}
    lacking = [name for name in report.missing_keys if id(own.get(name)) in saveable]
    if lacking or report.unexpected_keys:
        lacks = f"it lacks {some(sorted(lacking), 3)}" if lacking else ""
        unused = (
            f"the base has no place for {some(sorted(report.unexpected_keys), 3)}" if report.unexpected_keys else ""
        )
        raise misfit("; ".join(filter(None, (lacks, unused))))
    try:
        before = _logits(adapted)
        whole = adapted.merge_and_unload(safe_merge=True).eval()
    except Exception as error:
        raise InputError(f"{folder}: the adapter cannot be merged into {base} ({_line(error)}).") from error
    tolerance = _TOLERANCE.get(str(model.dtype).removeprefix("torch."), _HALF_TOLERANCE)
    apart, size = (_logits(whole) - before).abs().max().item(), before.abs().max().item()
    if not apart <= tolerance * max(size, 1):
        tied = model.config.get_text_config().tie_word_embeddings
        why = " (it adapts one of two tied embeddings)" if tied and not hasattr(whole, "num_labels") else ""
        raise InputError(
            f"{folder}: merged into {base}, the adapter gives other logits than unmerged, {apart:.2g} apart{why}. Such "
            "an adapter cannot be audited merged; train one that merges."
        )
    return whole


def _twice(name: str, tensors: dict[str, Any]) -> bool:
    """Whether a tensor is a second copy, as peft writes of a saved embedding that has grown."""
    once = name.replace(".modules_to_save.", ".")
    return once != name and once in tensors and bool((tensors[once] == tensors[name]).all())


def _resize(saved: Saved, model: Any, misfit: Any) -> None:
    """Give the embedding as many rows as the adapter has saved of it (trl and others add tokens)."""
    layer = model.get_input_embeddings()
    name = re.escape(next(name for name, module in model.named_modules() if module is layer))
    whole = re.compile(rf"base_model\.model\.{name}\.(token_adapter\.)?(base_layer\.)?weight")
    rows = next((shape[0] for own, shape in saved.shapes.items() if whole.fullmatch(own)), len(layer.weight))
    if rows == len(layer.weight):
        return
    output = model.get_output_embeddings()
    if output is not None and output.weight is not layer.weight and not any("lm_head" in own for own in saved.shapes):
        raise misfit(f"it adds {rows - len(layer.weight)} tokens and has no lm_head for them")
    model.resize_token_embeddings(rows, mean_resizing=False)


def _logits(model: Any) -> Any:
    """Logits after a few ids from the whole vocabulary, float32."""
    import torch

    device = model.get_input_embeddings().weight.device
    ids = torch.linspace(0, len(model.get_input_embeddings().weight) - 1, 12, device=device).long()
    with torch.no_grad():
        return model(input_ids=ids[None]).logits.float()


def _line(error: Exception) -> str:
    """The first lines of an error that say something, as one."""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.240}"
