"""Publication: adapters in fp16 with model cards, to checkpoints/, the DVC remote and the Hub; the atlas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from valuetrace.core import settings
from valuetrace.core.errors import InputError, some
from valuetrace.models.rows import MODELS, Model
from valuetrace.publish import adapters, atlas, cards, hub, remote

__all__ = ["Request", "publish"]


@dataclass(frozen=True)
class Request:
    """bases: those to publish (empty: all of params.yaml); to: OWNER/NAME-PREFIX on the Hub; remote: DVC's too;
    atlas: OWNER/NAME of a data set on the Hub, and then nothing else."""

    bases: list[str] = field(default_factory=list)
    to: str | None = None
    atlas: str | None = None
    remote: bool = False
    private: bool = False
    dry_run: bool = False


def publish(request: Request, say: Callable[[str], None]) -> dict[str, str]:
    """Refresh checkpoints/ and checkpoints.dvc; push where asked. Returns base → folder, or commit on the Hub.

    Everything is read, checked and logged in before anything is written. InputError names what is missing.
    """
    if request.atlas:
        if request.to or request.remote or request.bases:
            raise InputError("--atlas goes alone: it publishes no adapter. Run the two one after the other.")
        return {request.atlas: atlas.publish(request.atlas, request.private, request.dry_run, say)}
    rows = settings.get("models", dict[str, Model])
    bases = request.bases or settings.get("trained", list[str])
    unknown = [base for base in bases if base not in rows]
    if unknown:
        raise InputError(f"--base {some(unknown)}: no such model in params.yaml (there are {some(rows, 10)}).")
    names = hub.repositories(request.to, bases) if request.to else {}
    chosen = cards.known()
    found = {base: adapters.read(base, MODELS / base) for base in bases}
    texts = {base: cards.render(cards.context(found[base], rows[base], chosen, names.get(base))) for base in bases}
    for base, adapter in found.items():
        to = f", to {names[base]}" if base in names else ""
        step, size = adapter.provenance["step"], f"{adapter.parameters:,} parameters, {adapter.size / 1e6:.1f} MB"
        say(f"{base}: step {step}, {size}{to}")
    if request.dry_run:
        say("dry run: nothing is written or pushed")
        return {base: str(adapters.PUBLISHED / base) for base in bases}
    api = hub.login(say) if request.to else None
    done = {}
    for base in bases:
        notice = chosen.licence(rows[base]).notice
        done[base] = adapters.write(found[base], texts[base], notice, chosen.hub(base, rows[base]))
    with remote.repository() as repo:
        repo.add(str(adapters.PUBLISHED))
    say(f"{adapters.PUBLISHED}/ and {adapters.PUBLISHED}.dvc are up to date: commit {adapters.PUBLISHED}.dvc")
    if request.remote:
        size = remote.push(say)
        say(f"remote: {size / 1e6:.1f} MB in the repository: commit .dvc/published" if size else "remote: pushed")
    return {
        base: hub.push(done[base], names[base], request.private, api, say) if api else str(done[base]) for base in bases
    }
