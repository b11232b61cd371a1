"""Make one model folder: convert a GGUF file, download from the Hub, or draw tiny random weights.

In:  params.yaml, models.<name>.source and .tokenizer
Out: data/models/<name>/         safetensors, config, tokenizer, provenance.json
     metrics/models/<name>.json  the provenance and every file's SHA-256: what training depends on
Run: python stages/models.py NAME
"""

import sys

from valuetrace import models, settings, stage, tables


def main(name: str) -> None:
    row = settings.get(f"models.{name}", models.Model)
    folder = models.MODELS / name
    models.make(name, row.source, row.tokenizer, folder)
    made = models.provenance(folder) | {"files": tables.fingerprint(folder)}
    tables.write_json(made, f"metrics/models/{name}.json")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
