"""Make the preference pairs that reward models are trained on, and the held-out ones.

In:  params.yaml: preferences, data_size; the chosen source (data/assets/wordnet/ and lexicons/*.csv for
     WordNet definitions, else the Hub or a file)
Out: data/preferences/train.parquet     prompt, chosen, rejected (texts), source, key (what the split keeps
     data/preferences/held_out.parquet  together), history (JSON list of earlier messages, or empty)
     metrics/preferences.json           pairs, lengths in words, duplicates, ties, overlaps, length baseline
Run: python stages/preferences.py
"""

from pathlib import Path

from valuetrace import preferences
from valuetrace.core import files, settings, stage

OUT = Path("data/preferences")


def main() -> None:
    params = settings.get("preferences", preferences.Preferences)
    size = settings.get("data_size", object)
    if size != "full":
        preferences.parse_size(size)  # a bad value is told before anything is read
    source = params.sources[params.source]
    everything, held_out, left_out, origin = preferences.load(params.source, source, params.seed)
    train = preferences.take(everything, size, source.strides)
    for name, pairs in (("train", train), ("held_out", held_out)):
        files.write_atomically(OUT / f"{name}.parquet", lambda to, pairs=pairs: pairs.to_parquet(to, index=False))
    available = {"train": len(everything), "held_out": len(held_out)}
    metrics = {"origin": origin, "data_size": size, "seed": params.seed, "available": available}
    metrics |= {"left_out": dict(sorted(left_out.items())), **preferences.summary(train, held_out)}
    files.write_json(metrics, "metrics/preferences.json")


if __name__ == "__main__":
    stage.run(main)
