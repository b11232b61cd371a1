"""Make the preference pairs that reward models are trained on, and the held-out ones.

In:  params.yaml: preferences, data_size; the chosen source (for WordNet: data/assets/wordnet/, lexicons/unrolled/*.csv,
     lexicons/valence.csv, prompts/valence.csv; else the Hub or a file)
Out: data/preferences/train.parquet     prompt, chosen, rejected (texts), source, key (what the split keeps
     data/preferences/held_out.parquet  together), history (JSON list of earlier messages, or empty)
     metrics/preferences.json           pairs, lengths in words, duplicates, ties, overlaps, length baseline
Run: python -m stages.preferences
"""

from pathlib import Path

from valuetrace import preferences
from valuetrace.core import files, settings, stage


def main() -> None:
    params = settings.get("preferences", preferences.Preferences)
    size = settings.get("data_size", object)
    drawn = preferences.draw(params, size, params.seed)
    preferences.write({"train": drawn.train, "held_out": drawn.held_out}, Path("data/preferences"))
    metrics = {"origin": drawn.origin, "data_size": size, "seed": params.seed, "available": drawn.available}
    metrics |= {"left_out": dict(sorted(drawn.left_out.items())), **preferences.summary(drawn.train, drawn.held_out)}
    files.write_json(metrics, "metrics/preferences.json")


if __name__ == "__main__":
    stage.run(main)
