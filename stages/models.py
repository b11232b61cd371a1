"""Make one model folder: convert a GGUF file, download from the Hub, or draw tiny random weights.

In:  params.yaml, models.<name>.source and .tokenizer
Out: data/models/<name>/  safetensors, config, tokenizer, provenance.json
Run: python stages/models.py NAME
"""

import sys

from valuetrace import models, settings, stage


def main(name: str) -> None:
    row = settings.get(f"models.{name}", models.Model)
    models.make(name, row.source, row.tokenizer, models.MODELS / name)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
