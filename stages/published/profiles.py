"""The value profile of every model whose scores the authors released: what the atlas shows, small, in git.

In:  data/published/{reward_model_scores,logprobs,corpora}/, conf/published/*.csv, lexicons/unrolled/*.csv; params.yaml:
     atlas, validity
Out: metrics/profiles/published/{reward_models,language_models}/<owner>--<name>/<lexicon>.json
     valuetrace.measures.profile.profile, and ``released``: base, lineage, files, own_list (valuetrace.measures.atlas)
     Only language models whose file is here (2 GB in all); the others are named.
Run: python -m stages.published.profiles
"""

import sys
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.core.errors import some
from valuetrace.lexicon import load_lexicon, unrolled
from valuetrace.measures import validity
from valuetrace.measures.atlas import PROFILES, Atlas, with_known
from valuetrace.measures.compare.inputs import PUBLISHED_MODELS
from valuetrace.measures.profile import Subject, profile
from valuetrace.measures.published import sources
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

SCORES = sources.FETCHED / "reward_model_scores"
BARE = Format("chat", space=False)  # each reward model's own template, the reply without a space


def main() -> None:
    chosen = settings.get("atlas", Atlas)
    with files.fresh_folder(PROFILES.with_name(f".{PROFILES.name}.partial")) as temporary:
        for row in files.read_csv(PUBLISHED_MODELS, ("repository", "base", "lineage"), dtype=str).itertuples():
            paths = {name: _rewards(lists.rewards, row.repository) for name, lists in chosen.lexicons.items()}
            scores = {name: tables.read_scores(path) for name, path in paths.items()}
            about: dict = {"base": row.base, "lineage": row.lineage}
            about["files"] = {
                path.relative_to(sources.FETCHED).as_posix(): files.sha256(path) for path in paths.values()
            }
            for name in chosen.lexicons:
                whole = with_known(scores[name], [table for other, table in scores.items() if other != name])
                subject = Subject(cast(str, row.repository), "reward", name, "chat", BARE, tokenisation="as_published")
                _write(subject, whole, about, chosen, temporary / "reward_models")
        lacking = []
        for row in cast(Any, sources.language_models().itertuples()):
            path = sources.FETCHED / "logprobs" / sources.logprobs_file(row.repository)
            if not path.is_file():
                lacking.append(row.repository)
                continue
            asked, whole = chosen.asked[row.training], tables.read_scores(path)
            about = {"base": row.base, "lineage": row.training, "files": {f"logprobs/{path.name}": files.sha256(path)}}
            for name in chosen.lexicons:
                subject = Subject(row.repository, "logprob", name, asked.format, asked.form)
                _write(subject, whole, about, chosen, temporary / "language_models")
        if lacking:
            print(f"lacks the log-probabilities, so the profiles, of {some(lacking, 12)}", file=sys.stderr)
        files.replace_folder(temporary, PROFILES)


def _rewards(folder: str, repository: Any) -> Path:
    """A model's released file: some names begin with MFD20_, some with big2_, whatever their words."""
    found = sorted((SCORES / folder).glob(f"*_rewards_{repository.replace('/', '_')}.csv"))
    return found[0] if found else SCORES / folder / f"big2_rewards_{repository.replace('/', '_')}.csv"


def _write(subject: Subject, scores: pd.DataFrame, about: dict, chosen: Atlas, folder: Path) -> None:
    known, rule = unrolled.read_lexicon(unrolled.KNOWN_GROUPS), validity.rule()
    asked = (value_laden(), known, rule)
    found = profile(
        subject, scores, unrolled.read_lexicon(subject.lexicon), *asked, draws=chosen.draws, seed=chosen.seed
    )
    theirs = load_lexicon(sources.FETCHED / "corpora" / chosen.lexicons[subject.lexicon].words)
    theirs["construct"] = theirs["construct"].str.lower()
    own = [
        {key: row[key] for key in ("label", "framing", "words", "percentile")}
        for row in profile(subject, scores, theirs, *asked, draws=1)["rows"]
        if "percentile" in row
    ]
    path = folder / subject.model.replace("/", "--") / f"{subject.lexicon}.json"
    files.write_json(found | {"released": about | {"own_list": own}}, path)


if __name__ == "__main__":
    stage.run(main)
