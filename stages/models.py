"""Make one model folder: convert a GGUF file, download from the Hub, or draw tiny random weights.

In:  params.yaml, models.<name>.source and .tokenizer
Out: data/models/<name>/         safetensors, config, tokenizer, provenance.json
     metrics/models/<name>.json  the provenance and every file's SHA-256: what training depends on
Run: python -m stages.models NAME
"""

import sys

from valuetrace.core import files, settings, stage
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Model, provenance


def main(name: str) -> None:
    row = settings.get(f"models.{name}", Model)
    folder = MODELS / name
    with files.alone(folder, f"another process makes {folder}"):
        loading.make(name, row.source, row.tokenizer, folder)
        made = provenance(folder) | {"files": files.fingerprint(folder)}
        files.write_json(made, f"metrics/models/{name}.json")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
