"""Tables on disk: one door for every score file, of words, tokens or checkpoints.

A *score table* has one row a candidate reply and one float32 column a prompt key:

``token_id`` (Int64, missing for a word of several tokens), ``token_name`` (the tokenizer's own
spelling), ``token_decoded`` (the text it stands for), then ``best_ever_one`` … (log-probability in
nats, or reward in the model's own units; higher is better in both).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv, write_atomically

TOKEN_COLUMNS = ("token_id", "token_name", "token_decoded")
CHECKPOINT_COLUMNS = ("step", "word", "token_id")

_MADE_BY = b"valuetrace"


def write_scores(frame: pd.DataFrame, path: str | Path, made_by: dict) -> Path:
    """Write a score table as parquet with ``made_by`` (model, revision, kind, format …) in its metadata."""
    check_scores(frame, path)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _MADE_BY: json.dumps(made_by).encode()})
    # random mantissas have no dictionary; their bytes compress column by column
    layout = {"compression": "zstd", "use_dictionary": False, "use_byte_stream_split": prompt_keys(frame)}
    return write_atomically(path, lambda to: pq.write_table(table, to, **layout))


def read_scores(path: str | Path, prompts: list[str] | None = None) -> pd.DataFrame:
    """Read a score table: our parquet, or the authors' CSV files.

    Accepts ``token_id, token_name, token_decoded`` + prompt keys (log-probabilities, rewards over a
    vocabulary) and ``response`` + prompt keys (rewards of words). ``prompts`` limits the columns that
    are read. Returns the score table described above; ``frame.attrs`` holds what made it (empty for
    a CSV). NaN is kept, for the caller to name and count. Raises InputError for any other form.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such score file. Run the stage that writes it, or check the path.")
    if path.suffix == ".parquet":
        try:
            schema = pq.read_schema(path)
            columns = None if prompts is None else [*TOKEN_COLUMNS, *prompts]
            _require(columns or TOKEN_COLUMNS, schema.names, path)
            frame = pq.read_table(path, columns=columns).to_pandas(ignore_metadata=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: not a parquet file, or damaged ({error}). Make it again.") from None
        frame.attrs = json.loads((schema.metadata or {}).get(_MADE_BY, b"{}"))
    else:
        frame = _read_authors_csv(path, prompts)
    frame["token_id"] = frame["token_id"].astype("Int64")
    check_scores(frame, path)
    return frame


def score_files(*folders: str | Path) -> dict[str, list[Path]]:
    """Format → score file in each folder that ``stages/token_logprobs.py`` wrote, by name: what all have."""
    files = [{path.stem: path for path in Path(folder).glob("*.parquet")} for folder in folders]
    if not all(files):
        empty = some(str(folder) for folder, own in zip(folders, files, strict=True) if not own)
        raise InputError(f"{empty}: no score file. Run dvc repro token_logprobs.")
    return {name: [own[name] for own in files] for name in sorted(set.intersection(*map(set, files)))}


def prompt_keys(frame: pd.DataFrame) -> list[str]:
    """The prompt columns of a score table, in order."""
    return [column for column in frame.columns if column not in TOKEN_COLUMNS]


def check_scores(frame: pd.DataFrame, path: str | Path) -> None:
    """Raise InputError unless ``frame`` is a score table."""
    _require(TOKEN_COLUMNS, frame.columns, path)
    keys = prompt_keys(frame)
    if not keys:
        raise InputError(f"{path}: no prompt column. A score table has one column a prompt key (best_ever_one …).")
    wrong = [key for key in keys if frame[key].dtype != np.float32]
    if wrong:
        raise InputError(f"{path}: column {some(wrong)} is {frame[wrong[0]].dtype}, not float32.")
    if frame.empty:
        raise InputError(f"{path}: the table has no rows.")


def write_checkpoints(frame: pd.DataFrame, path: str | Path, made_by: dict) -> Path:
    """Write checkpoint scores (``training.study.score_checkpoints``) as parquet, ``made_by`` in their metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({_MADE_BY: json.dumps(made_by).encode()})
    split = [name for name in frame.columns if name not in CHECKPOINT_COLUMNS]
    layout = {"compression": "zstd", "use_dictionary": ["word"], "use_byte_stream_split": split}
    return write_atomically(path, lambda to: pq.write_table(table, to, **layout))


def read_checkpoints(path: str | Path) -> pd.DataFrame:
    """Read what ``write_checkpoints`` wrote; InputError where it is missing, damaged or of another form."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Train the base first: dvc repro train.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a parquet file, or damaged ({error}). Train again.") from None
    missing = [name for name in CHECKPOINT_COLUMNS if name not in table.column_names]
    if missing or len(table.column_names) == len(CHECKPOINT_COLUMNS):
        raise InputError(f"{path}: not a table of checkpoint scores (it lacks {some(missing or ['prompt columns'])}).")
    frame = table.to_pandas(ignore_metadata=True)
    return frame.assign(token_id=frame["token_id"].astype("Int64"))


def best_by_text(frame: pd.DataFrame, key: str) -> pd.Series:
    """One prompt's scores by decoded text; of tokens that decode alike, the higher-scored stays.

    That is how the authors join two vocabularies (their figure 3 script).
    """
    ordered = frame.sort_values(key, ascending=False, kind="stable")
    return ordered.drop_duplicates("token_decoded").set_index("token_decoded")[key]


def _read_authors_csv(path: Path, prompts: list[str] | None) -> pd.DataFrame:
    frame = read_csv(path, (), dtype=str)
    if "response" in frame.columns:
        frame = frame.rename(columns={"response": "token_decoded"})
    if "token_decoded" not in frame.columns:
        raise InputError(
            f"{path}: neither 'response' nor 'token_decoded' among its columns ({some(frame.columns, 8)}). "
            "Give a score file: words or tokens in rows, prompt keys in columns."
        )
    if "token_name" not in frame.columns:
        frame["token_name"] = frame["token_decoded"]
    if "token_id" not in frame.columns:
        frame["token_id"] = pd.NA
    keys = prompt_keys(frame) if prompts is None else prompts
    _require(keys, frame.columns, path)
    frame = frame[[*TOKEN_COLUMNS, *keys]].copy()
    try:
        frame["token_id"] = pd.to_numeric(frame["token_id"]).astype("Int64")
    except (ValueError, TypeError):
        raise InputError(f"{path}: column token_id holds something other than whole numbers.") from None
    for key in keys:
        numbers = pd.to_numeric(frame[key], errors="coerce")
        text = frame[key].str.strip().str.lower()
        bad = numbers.isna() & ~text.isin(["", "nan", "na"])
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(f"{path}: column {key}, line {row + 2}: {frame[key].iloc[row]!r} is not a number.")
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32)
        if np.isinf(narrow).any():
            row = int(np.flatnonzero(np.isinf(narrow))[0])
            raise InputError(
                f"{path}: column {key}, line {row + 2}: {frame[key].iloc[row]!r} is no finite float32 number. Correct "
                "the score, or leave the field empty."
            )
        frame[key] = narrow
    return frame


def _require(columns, present, path) -> None:
    missing = [column for column in columns if column not in present]
    if missing:
        raise InputError(f"{path}: column {some(missing)} is missing (found: {some(present, 8)}).")


def records(table: pd.DataFrame) -> list[dict]:
    """Rows as dicts, None where a number is missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def evenly_spaced(available: int, wanted: int) -> np.ndarray:
    """Row numbers ⌊i·available/wanted⌋, i < wanted: (wanted,), increasing.

    A smaller sample lies inside a larger one whenever its size divides the larger one's (13k in 26k,
    53k in 106k). InputError where more is wanted than there is.
    """
    if wanted > available:
        raise InputError(f"data_size asks for {wanted:,} pairs, but the source has {available:,}. Use 'full' or less.")
    return np.arange(wanted, dtype=np.int64) * available // wanted
