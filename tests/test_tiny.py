"""The tiny random models: numpy draws them, transformers must find every tensor where it looks for it."""

import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from valuetrace.core.errors import InputError
from valuetrace.models import tiny


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize(("cls", "reward"), [(AutoModelForCausalLM, False), (AutoModelForSequenceClassification, True)])
def test_transformers_finds_every_tensor(tmp_path, architecture, cls, reward):
    tiny.write(architecture, 1, tmp_path, reward)
    model, report = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert type(model).__name__ == model.config.architectures[0]
    stock = cls.from_config(model.config)
    for name, drawn in model.state_dict().items():  # as transformers itself would draw them, but for the draw
        kind = stock.state_dict()[name]
        assert drawn.shape == kind.shape
        assert float(drawn.mean()) == pytest.approx(float(kind.mean()), abs=0.1)
        assert (float(drawn.std()) > 0) == (float(kind.std()) > 0)
    assert getattr(model.config, "num_labels", None) == (1 if reward else 2)


def test_the_seed_decides_the_weights(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny.write("llama", seed, tmp_path / folder)
    same, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert same == again != other


def test_drawing_needs_no_torch(tmp_path):
    """Importing it takes longer than drawing; the three stages of the tiny profile wait for none."""
    told = "import sys, pathlib; from valuetrace.models import tiny; "
    told += "tiny.write('llama', 1, pathlib.Path(sys.argv[1])); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_architecture_is_named(tmp_path):
    with pytest.raises(InputError, match="architecture 'mamba' is unknown"):
        tiny.write("mamba", 1, tmp_path / "x")
    assert not (tmp_path / "x").exists()
