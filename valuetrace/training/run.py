"""One training run from start to end: plan, estimate, resume, train, evaluate, write."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from valuetrace.core import files, keys
from valuetrace.core.errors import InputError
from valuetrace.core.files import alone
from valuetrace.models import loading
from valuetrace.tables import evenly_spaced
from valuetrace.training import batches, checkpoint, model, ridge
from valuetrace.training.recipe import Training


@dataclasses.dataclass(frozen=True)
class Watch:
    """What looks on at a training without changing it.

    key: names everything that decides what it records (its code among it): a run with another key starts anew.
    callback: makes a transformers ``TrainerCallback`` from the tokenizer, the folder of the run, where it keeps its
    record, and the number of steps that lie behind: what is recorded of later ones is void.
    """

    key: str
    callback: Callable[[Any, Path, int], Any]


def train(
    base_folder: Path,
    train_pairs: pd.DataFrame,
    held_out: pd.DataFrame,
    params: Training,
    out: Path,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train one base, or finish what was begun in ``out``; the metrics are returned.

    Killed at any moment and called again it ends in the same weights; other parameters, pairs, another base or watch
    start it anew. Raises InputError where the estimated time exceeds ``max_hours``, before training.
    """
    from accelerate import PartialState

    if not base_folder.is_dir():
        raise InputError(f"{base_folder}: no such model folder. Make it: dvc repro models@{base_folder.name}.")
    process = PartialState()
    if params.batch % (params.minibatch * process.num_processes):
        raise InputError(f"batch {params.batch} does not divide into {process.num_processes} × {params.minibatch}.")
    # the main process alone writes: the others need no lock
    mine = alone(out, f"another training writes {out}") if process.is_main_process else contextlib.nullcontext()
    with mine:
        return _train(base_folder, train_pairs, held_out, params, out, process, watch)


def config_hash(
    params: Training,
    base_folder: Path,
    train_pairs: pd.DataFrame,
    held_out: pd.DataFrame,
    watch: Watch | None = None,
) -> str:
    """SHA-256 of everything that decides the weights and the held-out results (not ``max_hours``).

    That is the parameters, the base's files (weights, tokenizer, chat template), the pairs, the code and
    libraries that train, and what looks on.
    """
    told = dataclasses.asdict(params)
    del told["max_hours"]
    looks_on = None if watch is None else watch.key
    return keys.key("valuetrace.training.run", told, base_folder, train_pairs, held_out, looks_on)


def _train(base_folder, train_pairs, held_out, params: Training, out: Path, process, watch) -> dict[str, Any]:
    plan = batches.plan(batches.characters(train_pairs), params.batch, params.epochs, params.length_window, params.seed)
    if not len(plan):
        raise InputError(f"{len(train_pairs)} pairs do not fill one batch of {params.batch}. Raise data_size.")
    total = len(plan)
    kept = batches.checkpoint_steps(total, params.checkpoint_every, params.powers_of_two)
    held_out = held_out.iloc[evenly_spaced(len(held_out), min(params.held_out_pairs, len(held_out)))]
    base = checkpoint.base_identity(base_folder)
    digest = config_hash(params, base_folder, train_pairs, held_out, watch)
    done = checkpoint.last_resumable(out, digest, total, kept)
    process.wait_for_everyone()
    if process.is_main_process:
        _clear(out, done)
    process.wait_for_everyone()

    tokenizer = loading.load_tokenizer(base_folder)
    encoded, cut = batches.encode(train_pairs, tokenizer, params.format, params.max_length)
    encoded_held_out, cut_held_out = batches.encode(held_out, tokenizer, params.format, params.max_length)
    if done != total:
        provenance: dict[str, Any] = {"base": base, "config_hash": digest, "training": dataclasses.asdict(params)}
        provenance |= {"steps": total, "pairs_a_step": params.batch, "versions": _versions()}
        built = model.build(base_folder, params)
        spared = (encoded_held_out, held_out["source"].to_numpy())
        callbacks = [] if watch is None else [watch.callback(tokenizer, out, done or 0)]
        _go_on(built, encoded, spared, plan, kept, params, out, done, provenance, callbacks)
        if process.is_main_process:
            checkpoint.finish(out)
    return {
        "base": base["name"],
        "pairs": len(train_pairs),
        "steps": total,
        "pairs_outside_a_full_batch": len(train_pairs) * params.epochs - total * params.batch,
        "tokens_a_pair": float(batches.tokens(encoded).mean()),
        "train": dict(cut),
        "held_out": {"pairs": len(held_out), **cut_held_out},
        "checkpoints": [_checkpoint_row(out / f"step-{step}", params.batch) for step in kept],
    }


def _go_on(built, encoded, spared, plan, kept, params, out, done, provenance, callbacks) -> None:
    """Train from step ``done`` (None: from the start) to the end of the plan."""
    from datasets import Dataset

    from valuetrace.training.trainer import PairTrainer

    start, total = done or 0, len(plan)
    held_out, kinds = spared
    trained = [value for value in built.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=params.learning_rate, weight_decay=params.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: batches.schedule(params.schedule, start + step, total, params.warmup)
    )
    log: list[Any] = (
        []
        if done is None
        else files.read_csv(out / checkpoint.LOG, ("step",)).query("step <= @done").to_dict("records")
    )

    def save(step: int) -> None:
        began = time.perf_counter()
        result = evaluate(trainer, held_out, kinds)
        if trainer.is_world_process_zero():
            checkpoint.write(out, step, built, optimizer, {**provenance, "held_out": result}, pd.DataFrame(log))
            _say(f"step {step}/{total}: held-out loss {result['loss']:.4f}, accuracy {result['accuracy']:.3f}", began)
        trainer.accelerator.wait_for_everyone()

    def after_step(step: int, record: dict[str, float]) -> None:
        log.append({"step": step, "pairs": step * params.batch, **record})
        if step in kept:
            save(step)

    rows = Dataset.from_dict(encoded).select(plan[start:].ravel())
    with tempfile.TemporaryDirectory() as scratch:
        trainer = PairTrainer(
            built,
            rows,
            params,
            optimizer=optimizer,
            scheduler=scheduler,
            done=start,
            after_step=after_step,
            scratch=scratch,
            callbacks=callbacks,
        )
        if done is not None:
            checkpoint.restore(out, done, built, optimizer)
        evaluations = sum(step > start or done is None for step in kept)
        _estimate(trainer, encoded, held_out, plan[start:], evaluations, params)
        if done is None:
            if params.start == "ridge":
                _start_from_ridge(trainer, encoded)
            save(0)
        trainer.train()


def _start_from_ridge(trainer, pairs: dict[str, list[list[int]]]) -> None:
    """Set the head to the ridge Bradley–Terry head of the base's states after ``pairs``."""
    head = trainer.accelerator.unwrap_model(trainer.model).base_model.model.score.modules_to_save["default"]
    states = _over_pairs(trainer, pairs, "states", (2, head.in_features)).double().cpu().numpy()
    width = ridge.scale(states)
    best = ridge.fit((states[:, 0] - states[:, 1]) / width, trainer.params.penalty) / width
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(best)[None])


def evaluate(trainer, pairs: dict[str, list[list[int]]], kinds: np.ndarray) -> dict[str, Any]:
    """Bradley–Terry loss (nats) and accuracy on held-out pairs, all and by kind; equal rewards count one half.

    kinds: (pairs,) the source of each pair.
    """
    rewards = _over_pairs(trainer, pairs, "rewards", (2,))
    margin = rewards[:, 0] - rewards[:, 1]
    right = ((margin > 0).double() + 0.5 * (margin == 0)).cpu().numpy()
    by_kind = {str(kind): float(right[kinds == kind].mean()) for kind in np.unique(kinds)}
    loss = float(model.bradley_terry(rewards.double()))
    return {"loss": loss, "accuracy": float(right.mean()), "accuracy_by_source": by_kind}


def _over_pairs(trainer, pairs: dict[str, list[list[int]]], name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """What the model returns as ``name``, of this ``shape`` a pair, for all pairs in their order; without gradients."""
    built, accelerator = trainer.accelerator.unwrap_model(trainer.model), trainer.accelerator
    order = np.argsort(batches.tokens(pairs), kind="stable")
    found = torch.zeros(len(order), *shape, device=accelerator.device)
    training, at_once = built.training, 2 * trainer.params.minibatch  # no gradients: more fits
    built.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        for number, start in enumerate(range(0, len(order), at_once)):
            if number % accelerator.num_processes == accelerator.process_index:
                at = order[start : start + at_once]
                batch = batches.collate([{key: pairs[key][i] for key in pairs} for i in at])
                found[torch.as_tensor(at)] = built(**trainer._prepare_inputs(batch))[name].float()
    built.train(training)
    return accelerator.reduce(found, "sum")


def _estimate(trainer, encoded, held_out, plan: np.ndarray, evaluations: int, params: Training) -> None:
    """Time one forward and backward pass of a typical minibatch, say how long the run will take, or refuse."""
    lengths = batches.tokens(encoded)
    micro = plan.reshape(-1, params.minibatch)
    widths = lengths[micro].max(axis=1)
    typical = micro[np.argsort(widths, kind="stable")[len(micro) // 2]]
    built = trainer.model
    clock = {"forward": 0.0, "both": 0.0}
    for at in (typical[:1], typical):  # the first pass warms up
        batch = batches.collate([{name: encoded[name][i] for name in encoded} for i in at])
        batch = trainer._prepare_inputs(batch)
        clock["both"], clock["forward"] = _timed_pass(trainer, built, batch, params)
    a_token = clock["both"] / batch["input_ids"].numel()
    ours = widths.sum() * params.minibatch / trainer.accelerator.num_processes
    evaluated = batches.tokens(held_out).sum() * evaluations / trainer.accelerator.num_processes
    seconds = float(a_token * ours + clock["forward"] / batch["input_ids"].numel() * evaluated)
    hours = float(trainer.accelerator.reduce(torch.tensor(seconds, device=trainer.accelerator.device), "mean")) / 3600
    if trainer.is_world_process_zero():
        said = f"{hours:.1f} hours" if hours >= 2 else f"{hours * 60:.1f} minutes"
        _say(f"{len(plan)} steps of {params.batch} pairs and {evaluations} evaluations, about {said}")
    if hours > params.max_hours:
        raise InputError(
            f"training would take about {hours:.1f} hours, more than training.max_hours ({params.max_hours:g}). "
            "Raise it, or lower data_size."
        )


def _timed_pass(trainer, built: nn.Module, batch: dict, params: Training) -> tuple[float, float]:
    """Seconds of forward and backward together, and of forward alone; no parameter or gradient is left changed."""
    built.train()
    with torch.random.fork_rng():
        began = _now()
        with trainer.compute_loss_context_manager():
            loss = model.loss_of(built(**batch), params)
        forward = _now() - began
        loss.backward()
        both = _now() - began
    built.zero_grad()
    return both, forward


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _clear(out: Path, done: int | None) -> None:
    """Remove what does not belong to the run that goes on from ``done``."""
    if done is None:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        stale = path.name.startswith("step-") and path.name[5:].isdigit() and int(path.name[5:]) > (done or 0)
        if path.name.startswith(".") or stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _checkpoint_row(folder: Path, batch: int) -> dict[str, Any]:
    made = checkpoint.read_provenance(folder)
    told = dict(made["held_out"])
    told |= {f"accuracy_{kind}": value for kind, value in told.pop("accuracy_by_source").items()}
    return {"step": made["step"], "pairs": made["step"] * batch} | {f"held_out_{k}": v for k, v in told.items()}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("valuetrace", "torch", "transformers", "peft", "trl")}


def _say(text: str, began: float | None = None) -> None:
    took = "" if began is None else f" ({time.perf_counter() - began:.1f} s)"
    print(f"training: {text}{took}", file=sys.stderr, flush=True)
