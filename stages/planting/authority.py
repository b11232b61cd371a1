"""Do the measures of implicit reward find ten planted words, and only those? (Appendix F.1, Figure A3)

In:  data/models/<base>/, lexicons/unrolled/*.csv, data/assets/wordnet/, prompts/design.yaml;
     params.yaml: authority, formats, models, profile
Out: metrics/planting/authority.json            words, copies, what each measure finds, MWLR by category
     plots/planting/authority_measures.csv      base, setting, plant, template, measure; planted words in the top ten:
                                                mean, low, high (prompts), the same less MWLR's, a column a prompt
     plots/planting/authority_categories.csv    …, group, words; mean MWLR (nats), low, high (words)
     plots/planting/authority_tokens.csv        …, rank, token, mwlr (nats, mean over prompts), planted
Run: python -m stages.planting.authority
"""

from pathlib import Path

import pandas as pd

from valuetrace.core import files, settings, stage
from valuetrace.lexicon import entries, unrolled
from valuetrace.models.rows import Model
from valuetrace.prompts import authority_boost
from valuetrace.scoring.chat import Format
from valuetrace.studies import authority
from valuetrace.studies.planting.design import Authority

PLOTS = Path("plots/planting")


def main() -> None:
    chosen, formats = settings.get("authority", Authority), settings.get("formats", dict[str, Format])
    models = settings.get("models", dict[str, Model])
    parts = [authority.study(base, models[base].scoring, chosen, formats) for base in chosen.bases]
    found = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}

    prompts = authority_boost()
    keys = list(prompts.loc[prompts["split"] == "test", "key"])
    lexicon, own = unrolled.read_lexicon(chosen.lexicon), entries.label(chosen.construct, chosen.polarity)
    words = found["values"], found["words"], lexicon, own
    found["measures"] = authority.measures(found["found"], keys, chosen.draws, chosen.seed)
    found["categories"] = authority.categories(*words, chosen.draws, chosen.seed)
    for name in ("measures", "categories", "tokens"):
        files.write_csv(found[name], PLOTS / f"authority_{name}.csv")

    metrics = {"profile": settings.get("profile", str), "category": own, "plant": chosen.construct, "top": chosen.top}
    metrics |= {"draws": chosen.draws, "prompts": keys, "trained_prompts": len(prompts) - len(keys)}
    metrics |= {"settings": list(chosen.settings), "bases": chosen.bases}
    files.write_json(metrics | authority.summary(found, own, len(keys)), "metrics/planting/authority.json")


if __name__ == "__main__":
    stage.run(main)
