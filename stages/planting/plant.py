"""Plant a value into a copy of the base in one block, and measure what it says and what a head can read of it.

In:  data/models/<base>/, data/planting/blocks/<block>/, prompts/planting*.csv; params.yaml: planting, training, formats
Out: data/planting/bases/<block>-<plant>/
         plant/                    the adapter, or the change of embedding rows; plant.json: loss a step, or size (nats)
         logprobs.parquet          dose, word, then nats a prompt key (words that are one token)
         states-<dose>.safetensors hidden states of words, pairs, held-out and counter-value pairs, by layer
Run: python -m stages.planting.plant BLOCK PLANT
"""

import sys

from valuetrace.core import settings, stage
from valuetrace.studies.planting import measure
from valuetrace.studies.planting.design import Planting


def main(block: str, plant: str) -> None:
    measure.make(settings.get("planting", Planting), int(block), plant)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
