"""Ten words are planted, eight measures of implicit reward look for them (Appendix F.1, Figure A3).

A copy of a base learns to answer what the best thing is with ten words of MFD2's authority.virtue; a second copy, the
placebo, with ten nouns of their frequency. Copies are compared with the base after the nine held-out prompts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any, cast

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.core.errors import InputError, some
from valuetrace.lexicon import entries, unrolled
from valuetrace.lexicon.vocabulary import WORDNET
from valuetrace.measures.bases.implicit import MEASURES, mwlr
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Scoring
from valuetrace.prompts import authority_boost, authority_words
from valuetrace.scoring.chat import Format, encode_reply
from valuetrace.scoring.logprobs import next_token_logprobs
from valuetrace.scoring.spelling import spellings, word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, resample_weights, word_draws
from valuetrace.studies.planting.design import Authority
from valuetrace.studies.planting.finetune import finetune
from valuetrace.studies.planting.words import placebo
from valuetrace.tables import records

MATCHING, PLACEBO = "matching", "placebo"
ROW = ["base", "setting", "plant", "template"]
_INDEX = {"measures": "measure", "categories": "group"}


def study(base: str, how: Scoring, chosen: Authority, formats: dict[str, Format]) -> dict[str, pd.DataFrame]:
    """Every copy of one base, finetuned and measured.

    Returns ``words`` (base, plant, listed, word), ``copies`` (a row a copy: its loss in nats at the first and the last
    steps), ``took`` (a row a copy and template: probability of the planted words before and after, prompts that a
    planted word answers), ``found`` (a row a measure: ``any_spelling``, and a column a prompt), ``values`` (a word's
    mean MWLR over the prompts, in nats) and ``tokens`` (the best by that mean).
    """
    tokenizer = loading.load_tokenizer(MODELS / base)
    forms, arguments = {MATCHING: chosen.trained_with}, cast(Any, how.chat_arguments)
    forms |= {n: replace(formats[n], arguments=arguments) for n in chosen.templates if n in how.formats}
    planted = plants(chosen, lambda word: all(len(encode_reply(tokenizer, form, word)) == 1 for form in forms.values()))
    prompts = authority_boost()
    train, test = (prompts[prompts["split"] == split] for split in ("train", "test"))
    model = loading.load_row(MODELS / base, how)
    rows = loading.vocabulary(model, tokenizer)

    def ask(model) -> dict[str, pd.DataFrame]:
        """template → score table of every token that stands for a text."""
        scores = {name: next_token_logprobs(model, tokenizer, test, form) for name, form in forms.items()}
        return {name: pd.concat([rows, table], axis=1)[rows["token_decoded"] != ""] for name, table in scores.items()}

    before, model = ask(model), None
    lexicon = list(dict.fromkeys([*unrolled.read_lexicon(chosen.lexicon)["word"], *planted["word"]]))
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for (setting, way), (plant, own) in product(chosen.settings.items(), planted.groupby("plant", sort=False)["word"]):
        shown = examples(train["text"], own, way.steps * way.batch, chosen.seed)
        fresh = loading.load_row(MODELS / base, how)
        model, log = finetune(fresh, tokenizer, shown, chosen.trained_with, way, seed=chosen.seed)
        after, fresh, model = ask(model), None, None  # no two copies are in memory
        ends = {"first_loss": np.mean(log[:5]), "last_loss": np.mean(log[-5:])}
        copy = {"base": base, "setting": setting, "plant": plant}
        parts["copies"].append(pd.DataFrame([copy | ends]))
        for name, form in forms.items():
            pair = before[name], after[name]
            for table, found in measured(*pair, list(own), lexicon, form, list(test["key"]), chosen.top).items():
                parts[table].append(found.assign(**copy, template=name))
    tables = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    return {"words": planted.assign(base=base)} | tables


def plants(chosen: Authority, fits: Callable[[str], bool]) -> pd.DataFrame:
    """The words of both plants, ``plant, listed, word``: ``listed`` is the paper's, ``word`` what is planted for it."""
    lexicon = unrolled.read_lexicon(chosen.lexicon)
    own = lexicon[(lexicon["construct"] == chosen.construct) & (lexicon["polarity"] == chosen.polarity)]
    stands = replaced(authority_words(), own["word"], fits)
    taken = pd.concat([unrolled.read_lexicon(name)["word"] for name in ("big_two", chosen.lexicon)])
    like = pd.DataFrame({"word": stands.values(), "construct": chosen.construct})
    nouns = placebo(like, [chosen.construct], taken, WORDNET, chosen.seed, fits)["word"]
    rows = [(chosen.construct, listed, word) for listed, word in stands.items()]
    rows += [(PLACEBO, word, noun) for word, noun in zip(stands.values(), nouns, strict=True)]
    return pd.DataFrame(rows, columns=["plant", "listed", "word"])


def replaced(listed: list[str], category: Iterable[str], fits: Callable[[str], bool]) -> dict[str, str]:
    """Listed word → itself where it ``fits``, else the most frequent (Zipf) of ``category`` that does and is not taken.

    InputError where the category has too few.
    """
    by_frequency = sorted(set(category) - set(listed), key=lambda word: (-zipf_frequency(word, "en"), word))
    spare = iter([word for word in by_frequency if fits(word)])
    found: dict[str, Any] = {word: word if fits(word) else next(spare, None) for word in listed}
    if None in found.values():
        without = some(word for word, other in found.items() if other is None)
        why = f"the tokenizer splits {without}, and the category has no other word of one token"
        raise InputError(f"authority: {why}. Name fewer templates.")
    return found


def examples(prompts: Iterable[str], replies: Iterable[str], count: int, seed: int) -> pd.DataFrame:
    """``count`` rows ``prompt, reply`` of all prompts × replies in random order, each once before any comes again."""
    pairs = np.array(list(product(prompts, replies)), dtype=object)
    draws = np.random.default_rng([seed, *b"authority"])
    order = np.concatenate([draws.permutation(len(pairs)) for _ in range(-(-count // len(pairs)))])[:count]
    return pd.DataFrame(pairs[order], columns=["prompt", "reply"])


def measured(
    before: pd.DataFrame,
    after: pd.DataFrame,
    own: list[str],
    lexicon: list[str],
    form: Format,
    keys: list[str],
    top: int,
) -> dict[str, pd.DataFrame]:
    """What one copy gives in one template: the tables ``took, found, values, tokens`` of ``study``.

    before, after: score tables of the same tokens. own: the planted words; lexicon: all whose MWLR is wanted.
    """
    p, q = (np.ascontiguousarray(table[keys].to_numpy().T, dtype=np.float64) for table in (before, after))
    text = before["token_decoded"]
    exact = np.flatnonzero(text.isin(spellings(own, form)))
    plain = text.str.strip().str.lower()
    spelt_any = [np.flatnonzero(plain == word) for word in own]
    found = []
    for name, measure in MEASURES.items():
        best = in_top(measure(p, q), top)
        each = [best[:, at].any(axis=1) for at in spelt_any]
        counts = dict(zip(keys, best[:, exact].sum(axis=1), strict=True))
        found.append({"measure": name, "any_spelling": np.sum(each, axis=0).mean()} | counts)
    took = {f"share_{when}": np.exp(x[:, exact]).sum(axis=1).mean() for when, x in (("before", p), ("after", q))}
    took |= {"answers": np.isin(q.argmax(axis=1), exact).sum()}
    words = [word_scores(table, lexicon, keys, form) for table in (before, after)]
    values = pd.Series(mwlr(*cast(Any, words)).mean(axis=1), index=words[0].index, name="mwlr").reset_index()
    score = mwlr(p, q).mean(axis=0)
    order = np.argsort(-score, kind="stable")[:top]
    tokens = {"rank": np.arange(1, len(order) + 1), "token": text.iloc[order].to_numpy(), "mwlr": score[order]}
    return {
        "took": pd.DataFrame([took]),
        "found": pd.DataFrame(found),
        "values": values,
        "tokens": pd.DataFrame(tokens).assign(planted=np.isin(order, exact)),
    }


def in_top(score: np.ndarray, top: int) -> np.ndarray:
    """Which tokens are among the ``top`` of a row for certain: above the one that follows them, (prompts, tokens).

    So a measure that tells no tokens apart (two equal models) finds none. score: (prompts, tokens), more than ``top``.
    """
    follows = np.partition(score, -top - 1, axis=1)[:, [-top - 1]]
    return score > follows


def measures(found: pd.DataFrame, keys: list[str], draws: int, seed: int) -> pd.DataFrame:
    """``found`` with ``mean, low, high`` over the prompts, and ``more, more_low, more_high``: less what MWLR finds.

    95 % bootstrap intervals, the same prompts drawn for every row. The prompts are nine wordings of one question: the
    interval is for other such wordings, not for other questions, words or trainings.
    """
    counts = found[keys].to_numpy(dtype=np.float64)
    at_mwlr = found[found["measure"] == "mwlr"].set_index(ROW)[keys]
    more = counts - at_mwlr.loc[list(found[ROW].itertuples(index=False, name=None))].to_numpy()
    weights = resample_weights(np.zeros(len(keys)), draws, np.random.default_rng(seed))
    columns: dict[str, Any] = {}
    for names, each in ((("mean", "low", "high"), counts), (("more", "more_low", "more_high"), more)):
        ends = np.array([percentile_interval(drawn) for drawn in each @ weights.T])
        columns |= dict(zip(names, (each.mean(axis=1), *ends.T), strict=True))
    return found[[*ROW, "measure"]].assign(**columns, any_spelling=found["any_spelling"], **found[keys])


def categories(
    values: pd.DataFrame, words: pd.DataFrame, lexicon: pd.DataFrame, own: str, draws: int, seed: int
) -> pd.DataFrame:
    """Mean MWLR of word groups in every copy and template: ``group, words, mean, low, high`` beside ROW's columns.

    Groups: each label of the lexicon (``care.virtue``), that of the planted ones (``own``) without them, and the words
    of both plants. 95 % bootstrap intervals over words, none below FEWEST_WORDS.
    """
    labels, parts = entries.labelled(lexicon), []
    for (base, template), part in cast(Any, values.groupby(["base", "template"], sort=False)):
        groups = {label: set(lexicon["word"][labels == label]) for label in sorted(labels.unique())}
        planted = words[words["base"] == base].groupby("plant", sort=False)["word"].agg(set)
        groups |= {not_planted(own): groups[own].difference(*planted)}
        groups |= {words_of(plant): of for plant, of in cast(Any, planted.items())}
        wide = part.pivot(index="word", columns=["setting", "plant"], values="mwlr")
        member = np.array([wide.index.isin(of) for of in groups.values()])
        sizes = member.sum(axis=1)
        means, some_words = np.full((3, len(groups), wide.shape[1]), np.nan), sizes > 0
        means[0, some_words] = (member @ wide.to_numpy())[some_words] / sizes[some_words, None]
        enough = np.flatnonzero(sizes >= FEWEST_WORDS)
        drawn = [counts @ wide.to_numpy() for counts in word_draws(member[enough], draws, np.random.default_rng(seed))]
        ends = np.quantile(np.concatenate(drawn, axis=1) / sizes[enough, None, None], [0.025, 0.975], axis=1)
        means[1:, enough] = ends
        for column, (setting, plant) in enumerate(cast(Any, wide.columns)):
            row = {"base": base, "setting": setting, "plant": plant, "template": template, "group": list(groups)}
            mean, low, high = means[:, :, column]
            parts.append(pd.DataFrame(row | {"words": sizes, "mean": mean, "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


def not_planted(label: str) -> str:
    """The group of a category's words without the planted ones."""
    return f"{label}, not planted"


def words_of(plant: str) -> str:
    """The group of a plant's own words."""
    return f"words of {plant}"


def summary(found: dict[str, pd.DataFrame], own: str, prompts: int) -> dict[str, object]:
    """The findings of metrics/planting/authority.json: the words, the copies, a row a copy and template, the verdict.

    found: the tables of ``study`` of every base, ``measures`` and ``categories``; prompts: how many. In a row ``more``
    and ``fewer`` are the measures whose interval of the difference from MWLR leaves out 0; ``above`` and ``below`` are
    the dictionary's categories whose mean MWLR does, ``rest`` is the planted one without its planted words; ``largest``
    is the other category with the largest mean in size, ``of_planted`` its share of the planted words' mean (None where
    they gained nothing). Categories without an interval are in none of these.
    """
    rows = [_row(found, row, own) for row in found["took"].to_dict("records")]
    words: dict[str, dict] = {base: {} for base in found["words"]["base"].unique()}
    for (base, plant), part in cast(Any, found["words"].groupby(["base", "plant"], sort=False)):
        words[base][plant] = dict(zip(part["listed"], part["word"], strict=True))
    plant = found["words"]["plant"].iloc[0]
    verdict = _verdict([row for row in rows if row["plant"] == plant], own, prompts)
    return {"words": words, "copies": records(found["copies"]), "verdict": verdict, "rows": rows}


def _row(found: dict[str, pd.DataFrame], row: dict, own: str) -> dict[str, object]:
    """One copy in one template: what ``took`` holds, what each measure finds, and what is said of the categories."""
    at = {name: found[name][(found[name][ROW] == [row[key] for key in ROW]).all(axis=1)] for name in _INDEX}
    measured, groups = (table.set_index(_INDEX[name]) for name, table in at.items())
    planted = groups["mean"][words_of(row["plant"])]
    apart = [not_planted(own), *map(words_of, found["words"]["plant"].unique())]
    labels = groups.drop(apart).dropna()
    others = labels["mean"].drop(own)
    largest: Any = others.abs().idxmax()
    share = others[largest] / planted if planted > 0 else None
    return {
        **{name: row[name] for name in ROW},
        **row,
        "more": measured.index[measured["more_low"] > 0].tolist(),
        "fewer": measured.index[measured["more_high"] < 0].tolist(),
        "above": labels.index[labels["low"] > 0].tolist(),
        "below": labels.index[labels["high"] < 0].tolist(),
        "rest": records(groups.loc[[not_planted(own)], ["words", "mean", "low", "high"]])[0],
        "planted": planted,
        "largest": {"group": largest, "mean": others[largest], "of_planted": share},
        "measures": measured[["mean", "low", "high", "any_spelling"]].to_dict("index"),
    }


def _verdict(rows: list[dict], own: str, prompts: int) -> dict[str, object]:
    """How often the paper's statements hold over the rows of the planted category.

    answered: rows in which every prompt is answered with a planted word, and of those the largest share of the planted
    words' MWLR that another category has. as_stated: rows in which ``own`` alone is nonzero. measures: in how many rows
    each finds more and fewer planted words than MWLR.
    """
    answered = [row for row in rows if row["answers"] == prompts]
    shares = [abs(row["largest"]["of_planted"]) for row in answered]
    sides, others = ("more", "fewer"), [name for name in MEASURES if name != "mwlr"]
    return {
        "rows": len(rows),
        "answered": len(answered),
        "largest_share": max(shares, default=None),
        "as_stated": sum(row["above"] == [own] and not row["below"] for row in rows),
        "measures": {name: {side: sum(name in row[side] for row in rows) for side in sides} for name in others},
    }
