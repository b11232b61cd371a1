"""Each reward head against its formula, written out independently, on random weights in the released layout."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from valuetrace.core.errors import InputError
from valuetrace.models import tiny
from valuetrace.scoring import chat, heads, recognise, search
from valuetrace.scoring.reward_model import load_reward_model

HIDDEN, WIDTH, OBJECTIVES, QUANTILES = 64, 32, 5, 7
FORM = chat.Format("chat", space=False)
SIZES = {"num_objectives": OBJECTIVES, "num_quantiles": QUANTILES, "gating_hidden_dim": WIDTH, "gating_n_hidden": 3}


def random_tensors(shapes: dict[str, tuple[int, ...]], dtype=torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}
    return {name: (t.abs() + 0.5 if "var" in name else t).to(dtype) for name, t in tensors.items()}


def save(folder, architecture: str, tensors: dict[str, torch.Tensor], **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    kind = {"model_type": "gemma2" if architecture.startswith("Gemma2") else "llama"}
    settings = {**kind, "hidden_size": HIDDEN, "id2label": {"0": "LABEL_0"}, **config, "architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def load(folder, head=None, output=None) -> heads.Head:
    found = recognise.recognise(folder, head, output)
    return recognise.load_head(folder, found, output or 0)


def states() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(6, HIDDEN, generator=generator), torch.randn(6, HIDDEN, generator=generator)


def gating_layers(prefix: str, linears: dict[int, tuple[int, int]], biased, norms=()) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs) in linears.items():
        shapes[f"{prefix}.{number}.weight"] = (outputs, inputs)
        if number in biased:
            shapes[f"{prefix}.{number}.bias"] = (outputs,)
    for number in norms:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{prefix}.{number}.{part}"] = (WIDTH,)
    return shapes


ARMORM = {
    "regression_layer.weight": (OBJECTIVES, HIDDEN),
    "reward_transform_matrix": (OBJECTIVES, OBJECTIVES),
    "gating.logit_scale": (1,),
    **gating_layers(
        "gating.layers",
        {0: (HIDDEN, WIDTH), 1: (WIDTH, WIDTH), 2: (WIDTH, WIDTH), 3: (WIDTH, OBJECTIVES)},
        biased=range(4),
    ),
}
QRM_LLAMA = {
    "regression_layer.weight": (OBJECTIVES * QUANTILES, HIDDEN),
    "reward_transform_matrix": (OBJECTIVES, OBJECTIVES),
    "gating.logit_scale": (1,),
    **gating_layers(
        "gating.layers",
        {0: (HIDDEN, WIDTH), 3: (WIDTH, WIDTH), 6: (WIDTH, WIDTH), 9: (WIDTH, OBJECTIVES)},
        biased=[9],
        norms=(2, 5, 8),
    ),
}
QRM_GEMMA = {
    "regression_layer.weight": (OBJECTIVES * QUANTILES, HIDDEN),
    "gating.logit_scale": (1,),
    **gating_layers(
        "gating.layers",
        {0: (HIDDEN, WIDTH), 4: (WIDTH, WIDTH), 8: (WIDTH, WIDTH), 11: (WIDTH, OBJECTIVES)},
        biased=[11],
        norms=(2, 6, 10),
    ),
}
URM = {
    "score.weight": (10, HIDDEN),
    **gating_layers("weights.fc", {0: (HIDDEN, HIDDEN), 2: (HIDDEN, HIDDEN), 4: (HIDDEN, 5)}, biased=(0, 2, 4)),
}


def by_quantiles(t, h, p, linears, norms, last, temperature):
    for linear, norm in zip(linears, norms, strict=True):
        p = (p @ t[f"gating.layers.{linear}.weight"].T).clamp(min=0)
        n = {part: t[f"gating.layers.{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        p = (p - n["running_mean"]) / (n["running_var"] + 1e-5).sqrt() * n["weight"] + n["bias"]
    p = (p @ t[f"gating.layers.{last}.weight"].T + t[f"gating.layers.{last}.bias"]) / temperature
    gate = p.exp() / p.exp().sum(-1, keepdim=True) * t["gating.logit_scale"]
    quantiles = h @ t["regression_layer.weight"].T
    means = torch.stack([quantiles[:, o * QUANTILES : (o + 1) * QUANTILES].mean(-1) for o in range(OBJECTIVES)], -1)
    return gate, means


def armorm(t, h, p):
    for number in range(4):
        p = p.clamp(min=0) if number else p
        p = p @ t[f"gating.layers.{number}.weight"].T + t[f"gating.layers.{number}.bias"]
    gate = torch.exp(p / 3) / torch.exp(p / 3).sum(-1, keepdim=True) * t["gating.logit_scale"]
    rewards = h @ t["regression_layer.weight"].T
    return torch.einsum("bo,bi,io->b", gate, rewards, t["reward_transform_matrix"])


def qrm_llama(t, h, p):
    gate, means = by_quantiles(t, h, p, (0, 3, 6), (2, 5, 8), 9, temperature=10)
    return torch.einsum("bo,bi,io->b", gate, means, t["reward_transform_matrix"])


def qrm_gemma(t, h, p):
    gate, means = by_quantiles(t, h, p, (0, 4, 8), (2, 6, 10), 11, temperature=1)
    return (gate * means).sum(-1)


def urm(t, h, _):
    def selu(x):
        return 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1))

    x = selu(h @ t["weights.fc.0.weight"].T + t["weights.fc.0.bias"])
    x = selu(x @ t["weights.fc.2.weight"].T + t["weights.fc.2.bias"])
    gate = x @ t["weights.fc.4.weight"].T + t["weights.fc.4.bias"]
    means = torch.stack([h @ t["score.weight"][2 * a] for a in range(5)], -1)
    return (means * gate).sum(-1)


def grm_mlp(t, h, _):
    x = (h @ t["v_head.summary.0.weight"].T + t["v_head.summary.0.bias"]).clamp(min=0)
    return (x @ t["v_head.summary.2.weight"].T + t["v_head.summary.2.bias"])[:, 0]


GRM_MLP = {
    "v_head.summary.0.weight": (WIDTH, HIDDEN),
    "v_head.summary.0.bias": (WIDTH,),
    "v_head.summary.2.weight": (1, WIDTH),
    "v_head.summary.2.bias": (1,),
    "lm_head.weight": (100, HIDDEN),
}
GRM_LINEAR = {"v_head.summary.weight": (1, HIDDEN), "v_head.summary.bias": (1,)}
CASES = {
    "plain": (
        "LlamaForSequenceClassification",
        {"score.weight": (1, HIDDEN)},
        {},
        lambda t, h, p: h @ t["score.weight"][0],
    ),
    "armorm": ("LlamaForRewardModelWithGating", ARMORM, SIZES | {"gating_temperature": 3}, armorm),
    "qrm llama 3": ("LlamaForRewardModelWithGating3", QRM_LLAMA, SIZES, qrm_llama),
    "qrm llama 3.1": ("LlamaForRewardModelWithGating31", QRM_LLAMA, SIZES, qrm_llama),
    "qrm gemma": ("Gemma2ForQuantileSequenceClassification", QRM_GEMMA, SIZES, qrm_gemma),
    "urm": ("LlamaForSequenceClassificationWithNormal_Weights", URM, {}, urm),
    "grm mlp": ("GRewardModel", GRM_MLP, {"vhead_num_neurons": WIDTH, "vhead_num_layers": 1}, grm_mlp),
    "grm linear": (
        "GRewardModel",
        GRM_LINEAR,
        {"vhead_layer_type": "linear"},
        lambda t, h, p: h @ t["v_head.summary.weight"][0] + t["v_head.summary.bias"],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_formula(case, dtype, tmp_path):
    architecture, shapes, config, formula = CASES[case]
    tensors = random_tensors(shapes, dtype)
    if "gating.layers.2.running_mean" in tensors:
        tensors["gating.layers.2.num_batches_tracked"] = torch.tensor(3)
    head = load(save(tmp_path, architecture, tensors, **config))
    last, gate = states()
    expected = formula({name: t.double() for name, t in tensors.items()}, last.double(), gate.double())
    with torch.inference_mode():
        rewards = head(last, gate if head.pattern else None)
    assert rewards.shape == (6,)
    assert rewards.dtype == torch.float32
    torch.testing.assert_close(rewards.double(), expected, rtol=1e-4, atol=1e-5)


def test_gating_patterns_are_the_published_ones():
    assert heads.ArmoRM.pattern == (128009, 128006, 78191, 128007, 271)
    assert (
        heads.PUBLISHED["LlamaForRewardModelWithGating31"](SIZES | {"hidden_size": 8}).pattern == heads.ArmoRM.pattern
    )
    gemma = heads.PUBLISHED["Gemma2ForQuantileSequenceClassification"](SIZES | {"hidden_size": 8})
    assert gemma.pattern == (107, 108, 106, 2516, 108)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"plain"}))
def test_a_missing_or_misshapen_tensor_is_named(case, tmp_path):
    architecture, shapes, config, _ = CASES[case]
    tensors = random_tensors({name: shape for name, shape in shapes.items() if name != "lm_head.weight"})
    for name, tensor in tensors.items():
        others = {key: t for key, t in tensors.items() if key != name}
        with pytest.raises(InputError, match=f"needs the tensor {name.replace('.', '[.]')}"):
            load(save(tmp_path, architecture, others or {"other": torch.ones(1)}, **config))
        longer = torch.cat([tensor, tensor])
        with pytest.raises(InputError, match=rf"needs {name} of shape .*; the file has \[{longer.shape[0]}"):
            load(save(tmp_path, architecture, {**others, name: longer}, **config))


def test_unknown_classes_and_several_outputs(tmp_path):
    tensors = random_tensors({"score.weight": (10, HIDDEN)})
    folder = save(tmp_path, "LlamaForTokenReward", tensors)
    for name in ("LlamaForTokenReward", "LlamaForSequenceClassification"):  # whatever the class and its labels
        folder = save(tmp_path, name, tensors, id2label={"0": "reward"})
        with pytest.raises(InputError, match=r"10 outputs, .*--output N"):
            load(folder)
        with pytest.raises(InputError, match=r"--output 10: .* outputs 0 to 9"):
            load(folder, output=10)
        last, _ = states()
        torch.testing.assert_close(load(folder, "first_output")(last), last @ tensors["score.weight"][0])
        torch.testing.assert_close(load(folder, output=3)(last), last @ tensors["score.weight"][3])
    with pytest.raises(InputError, match=r"which are not one head"):
        load(save(tmp_path, "LlamaForTokenReward", {"left": torch.ones(1, HIDDEN), "right": torch.ones(1, HIDDEN)}))
    save(tmp_path, "LlamaForTokenReward", tensors)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="Only safetensors are read"):
        load(folder, "first_output")


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_saved_classifier_gives_transformers_own_logits(architecture, tmp_path):
    stock = tiny.model(architecture, cls=AutoModelForSequenceClassification, reward=True)
    stock.save_pretrained(tmp_path)
    tiny.tokenizer(architecture).save_pretrained(tmp_path)
    model = load_reward_model(tmp_path, FORM, device="cpu")
    around = chat.render(model.tokenizer, FORM, "Why?")
    rewards = search.score_responses(model, "Why?", [10, 11, 12], progress=False)
    with torch.inference_mode():
        rows = torch.tensor([[*around.prefix, candidate, *around.closing] for candidate in (10, 11, 12)])
        torch.testing.assert_close(torch.tensor(rewards.to_numpy()), stock(rows).logits[:, 0], rtol=1e-4, atol=1e-5)


def test_a_published_layout_loads_whole(tmp_path, capsys):
    """A gating model of another class than transformers knows: backbone under 'model.', the head beside it."""
    backbone = tiny.model("llama", cls=AutoModel)
    tensors = {f"model.{name}": t.contiguous() for name, t in backbone.state_dict().items()} | random_tensors(ARMORM)
    config = backbone.config.to_dict() | SIZES | {"auto_map": {"AutoModelForSequenceClassification": "code.Class"}}
    save(
        tmp_path,
        "LlamaForRewardModelWithGating",
        tensors,
        **config,
    )
    tiny.tokenizer("llama").save_pretrained(tmp_path)
    model = load_reward_model(tmp_path, FORM, device="cpu")
    assert "not checked against the real weights: gating_temperature" in capsys.readouterr().err
    torch.testing.assert_close(model.backbone.state_dict(), backbone.state_dict())
    with pytest.raises(InputError, match=r"ArmoRM reads the prompt at the tokens .*Use the model's chat format"):
        search.score_responses(model, "Why?", ["good"], progress=False)

    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"the weights lack norm\.weight"):
        load_reward_model(tmp_path, FORM, device="cpu")
    assert "model.norm.weight" not in load_file(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"no config\.json"):
        load_reward_model(tmp_path / "nowhere", FORM)
