"""What an audit found out about a model and decided, for ``--explain``; only the reference's replies are scored."""

from __future__ import annotations

from typing import cast

from valuetrace.audit.run import PlannedAudit
from valuetrace.scoring import reference
from valuetrace.scoring.candidates import prepare, read_candidates
from valuetrace.scoring.chat import render
from valuetrace.scoring.recognise import recognise
from valuetrace.subjects.scorers import Rewards


def explain(planned: PlannedAudit) -> str:
    """Class, head, format, where the reward is read, one conversation with that token marked, and the reference."""
    job, scorer = planned.job, planned.scorer
    form, prompt = job.form, cast(str, job.prompts["text"].iloc[0])
    lines = [f"class: {job.architecture}", f"format: {job.format}, {form.kind}"]
    if form.kind == "text":
        lines.append(f"template: {form.template!r}, closed by {form.closing}")
    if not isinstance(scorer, Rewards):
        ids = render(scorer.tokenizer, form, prompt).prefix
        tokens = " ".join(scorer.tokenizer.convert_ids_to_tokens(ids))
        return "\n".join([*lines, f"kind: language model; log-probabilities of the token after: {tokens}"])
    model, held = scorer.model, scorer.held
    if job.adapter is None:
        lines.append(f"head: {recognise(job.folder, job.request.head, job.request.output).head}")
    else:
        lines.append(f"head: of the adapter {job.adapter.name}")
    if model.whole is not None:
        lines.append(f"output: {model.output}")
    plan = prepare(model, prompt, read_candidates(model, [scorer.names[0]]), held.tokenisation)
    ids, read = plan.ids(0), int(plan.reads[0])
    tokens = [str(token) for token in scorer.tokenizer.convert_ids_to_tokens(ids)]
    tokens[read] = f">>>{tokens[read]}<<<"
    apart = "" if model.pad is None else f", the last that is not the padding token {model.pad}"
    lines += [
        f"read: at token {read + 1} of {len(ids)}{apart}" if model.head is not None else "read: by the class itself",
        f"ids: {' '.join(map(str, ids))}",
        f"tokens: {' '.join(tokens)}",
        f"tokenisation: {held.tokenisation}",
        *reference.told(held),
    ]
    return "\n".join(lines)
