"""Tables on disk: round trips, the authors' CSV files, bad files, atomic writes."""

import json
import os
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valuetrace import tables
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.prompts import value_laden

# texts that a CSV reader may take for something else
TEXTS = [
    "null",
    "NA",
    "nan",
    "N/A",
    "None",
    "",
    " ",
    '"',
    "a,b",
    "line\nbreak",
    "tab\t",
    "#1",
    "007",
    "1e5",
    "True",
    "ß",
]


def scores(texts=tuple(TEXTS)) -> pd.DataFrame:
    n = len(texts)
    ids = pd.array([None, *range(1, n)], dtype="Int64")
    values = np.linspace(-9, 3, 2 * n, dtype=np.float32).reshape(2, n)
    columns = {"token_id": ids, "token_name": [f"<{t}>" for t in texts], "token_decoded": list(texts)}
    return pd.DataFrame(columns | {"best_ever_one": values[0], "worst_ever_one": values[1]})


# --- round trips ---------------------------------------------------------------------------------


def test_scores_and_what_made_them_come_back(tmp_path):
    made_by = {"model": "m", "kind": "logprob", "origin": {"seed": 1}}
    written = scores()
    written.loc[0, "best_ever_one"] = -np.inf
    written.loc[1, "best_ever_one"] = np.nan
    tables.write_scores(written, tmp_path / "deep" / "s.parquet", made_by)
    read = tables.read_scores(tmp_path / "deep" / "s.parquet")
    assert read.attrs == made_by
    pd.testing.assert_frame_equal(read, written, check_dtype=False)
    assert read["token_id"].dtype == "Int64"
    assert (read[["best_ever_one", "worst_ever_one"]].dtypes == np.float32).all()


def test_one_prompt_of_many_is_read(tmp_path):
    tables.write_scores(scores(), tmp_path / "s.parquet", {})
    read = tables.read_scores(tmp_path / "s.parquet", ["worst_ever_one"])
    assert list(read.columns) == [*tables.TOKEN_COLUMNS, "worst_ever_one"]
    assert tables.prompt_keys(read) == ["worst_ever_one"]


def test_csv_round_trip_is_exact(tmp_path):
    frame = pd.DataFrame({"word": ["null", "NA", "", "a\nb"], "x": [0.1, 1 / 3, 1e-300, -2.0]})
    files.write_csv(frame, tmp_path / "t.csv")
    assert b"\r" not in (tmp_path / "t.csv").read_bytes()
    pd.testing.assert_frame_equal(files.read_csv(tmp_path / "t.csv", ("word", "x")), frame)


def test_json_round_trip(tmp_path):
    value = {"b": np.float64(0.5), "a": [np.int64(3), None, True, "ß"], "c": np.array([1.5, 2.0]), 4: (1, 2)}
    files.write_json(value, tmp_path / "m.json")
    read = files.read_json(tmp_path / "m.json")
    assert read == {"b": 0.5, "a": [3, None, True, "ß"], "c": [1.5, 2.0], "4": [1, 2]}
    assert list(read) == ["b", "a", "c", "4"]
    assert (tmp_path / "m.json").read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("bad", [np.nan, np.inf, float("-inf"), np.float32("nan"), np.array([1.0, np.nan])])
def test_json_refuses_what_is_no_number(tmp_path, bad):
    files.write_json({"x": 1}, tmp_path / "m.json")
    with pytest.raises(ValueError, match="finite"):
        files.write_json({"deep": [{"x": bad}]}, tmp_path / "m.json")
    assert files.read_json(tmp_path / "m.json") == {"x": 1}


def test_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-2, Appendix B.1
    assert files.sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- the authors' two forms of CSV ---------------------------------------------------------------


def csv(path, header: str, rows: list[str]):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("quote", [quoted, str], ids=["quoted", "bare"])
def test_words_stay_words(tmp_path, quote):
    """Rewards of words: ``response`` and prompt keys."""
    texts = [t for t in TEXTS if quote is quoted or not set(t) & set('",\n')]
    path = csv(tmp_path / "r.csv", "response,best_ever_one", [f"{quote(t)},{i}.5" for i, t in enumerate(texts)])
    read = tables.read_scores(path)
    assert list(read.columns) == [*tables.TOKEN_COLUMNS, "best_ever_one"]
    assert list(read["token_decoded"]) == list(read["token_name"]) == texts
    assert read["token_id"].isna().all()
    assert list(read["best_ever_one"]) == [i + 0.5 for i in range(len(texts))]
    assert read["best_ever_one"].dtype == np.float32
    assert read.attrs == {}


def test_tokens_stay_tokens(tmp_path):
    """Scores over a vocabulary: ``token_id, token_name, token_decoded`` and prompt keys, in any order."""
    rows = [f"{-i},{quoted('n' + t)},{i},{quoted(t)}" for i, t in enumerate(TEXTS)]
    path = csv(tmp_path / "t.csv", "best_ever_one,token_name,token_id,token_decoded", rows)
    read = tables.read_scores(path)
    assert list(read["token_decoded"]) == TEXTS
    assert list(read["token_name"]) == ["n" + t for t in TEXTS]
    assert list(read["token_id"]) == list(range(len(TEXTS)))
    assert list(read["best_ever_one"]) == [-i for i in range(len(TEXTS))]


def test_missing_scores_are_kept_as_nan_for_the_caller(tmp_path):
    path = csv(tmp_path / "r.csv", "response,a", ["x,", "y,NaN", "z,na", "u,-inf", "v, 1e-3 "])
    np.testing.assert_array_equal(tables.read_scores(path)["a"], np.float32([np.nan, np.nan, np.nan, -np.inf, 1e-3]))


def test_one_prompt_of_a_csv(tmp_path):
    path = csv(tmp_path / "r.csv", "response,a,b", ["x,1,not read", "y,2,neither"])
    assert list(tables.read_scores(path, ["a"])["a"]) == [1, 2]


def test_the_published_files(repository):
    files = sorted((repository.parent / "shared" / "published" / "big_two_nouns").glob("*.csv"))
    if not files:
        pytest.skip("the authors' public score files are not beside the repository (../shared/published)")
    assert len(files) == 10
    for path in files:
        read = tables.read_scores(path)
        assert len(read) == read["token_decoded"].nunique() == 265
        assert tables.prompt_keys(read) == list(value_laden()["key"])
        assert np.isfinite(read[tables.prompt_keys(read)].to_numpy()).all()


# --- joins ---------------------------------------------------------------------------------------


def test_best_by_text_keeps_the_higher_score():
    frame = scores(["a", "b", "a", "c"]).assign(best_ever_one=np.float32([-3, -2, -1, np.nan]))
    best = tables.best_by_text(frame, "best_ever_one")
    assert best.drop("c").to_dict() == {"a": -1, "b": -2}
    assert np.isnan(best["c"])


# --- bad files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", None, "no such score file"),
        ("r.parquet", None, "no such score file"),
        ("r.parquet", b"", "not a parquet file"),
        ("r.parquet", b"response,a\nx,1\n", "not a parquet file"),
        ("r.csv", b"", "not a readable CSV"),
        ("r.csv", b"response,a\nx,\xff\n", "not a readable CSV"),
        ("r.csv", b"response,a\nx,1,2,3\ny,1\n", "its lines have more fields than its header"),
        ("r.csv", b"response,a\nx,1\ny,1,2\n", "not a readable CSV"),
        ("r.csv", b"word,a\nx,1\n", "neither 'response' nor 'token_decoded' among its columns (word, a)"),
        ("r.csv", b"response\nx\n", "no prompt column"),
        ("r.csv", b"response,a\n", "the table has no rows"),
        ("r.csv", b"response,a\nx,1\ny,high\n", "column a, line 3: 'high' is not a number"),
        (
            "r.csv",
            b"token_id,token_decoded,a\nx,x,1\n",
            "token_id holds something other than whole numbers",
        ),
        (
            "r.csv",
            b"token_id,token_decoded,a\n1.5,x,1\n",
            "token_id holds something other than whole numbers",
        ),
    ],
)
def test_a_bad_score_file_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}.*{re.escape(message)}"):
        tables.read_scores(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_prompt_that_is_not_there_is_named(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    scores().to_csv(path, index=False) if suffix == "csv" else tables.write_scores(scores(), path, {})
    with pytest.raises(InputError, match=re.escape(f"{path}: column good_ever_one is missing")):
        tables.read_scores(path, ["best_ever_one", "good_ever_one"])


@pytest.mark.parametrize("column", tables.TOKEN_COLUMNS)
def test_a_parquet_file_that_is_no_score_table_is_named(tmp_path, column):
    path = tmp_path / "s.parquet"
    pq.write_table(pa.Table.from_pandas(scores().drop(columns=column)), path)
    with pytest.raises(InputError, match=re.escape(f"{path}: column {column} is missing")):
        tables.read_scores(path)


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tables.write_scores(scores([f"w{i}" for i in range(500)]), tmp_path / "s.parquet", {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: not a parquet file"):
        tables.read_scores(path)
    path.write_bytes(whole[:4] + b"\0" * 2000 + whole[2004:])  # the footer is whole, the data are not
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: not a parquet file, or damaged"):
        tables.read_scores(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.astype({"best_ever_one": "float64"}), "column best_ever_one is float64, not float32"),
        (lambda f: f.drop(columns=["best_ever_one", "worst_ever_one"]), "no prompt column"),
        (lambda f: f.drop(columns="token_name"), "column token_name is missing"),
        (lambda f: f.head(0), "no rows"),
    ],
)
def test_what_is_no_score_table_is_not_written(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        tables.write_scores(change(scores()), tmp_path / "s.parquet", {})
    assert not list(tmp_path.iterdir())


def test_read_csv_names_what_is_missing(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: no such file"):
        files.read_csv(path, ("a",))
    path.write_text("b,c\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("column a is missing (found: b, c). The header must name a, b.")):
        files.read_csv(path, ("a", "b"))
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(InputError, match="not a readable CSV"):
        files.read_csv(path, ("a",))


@pytest.mark.parametrize("content", [b"{", b"\xff", b""])
def test_read_json_names_what_is_wrong(tmp_path, content):
    path = tmp_path / "m.json"
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: no such file"):
        files.read_json(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: not valid JSON"):
        files.read_json(path)


# --- atomic writes -------------------------------------------------------------------------------


def failing(path):
    path.write_text("half", encoding="utf-8")
    raise RuntimeError("killed")


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = files.write_text("old", tmp_path / "f.txt")
    with pytest.raises(RuntimeError, match="killed"):
        files.write_atomically(path, failing)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_no_new_file(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        files.write_atomically(tmp_path / "new" / "f.txt", failing)
    assert not list((tmp_path / "new").iterdir())


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "f.json"
    seen = []

    def write(to):
        to.write_text("{}", encoding="utf-8")
        seen.append((path.exists(), to.parent == path.parent, to.suffix))

    files.write_atomically(path, write)
    assert seen == [(False, True, ".json")]
    assert json.loads(path.read_text(encoding="utf-8")) == {}
    assert list(tmp_path.iterdir()) == [path]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_text_has_unix_line_ends_and_no_other_encoding(tmp_path):
    assert files.write_text("a\nß\n", tmp_path / "t").read_bytes() == b"a\n\xc3\x9f\n"


def test_score_files_are_those_of_the_formats_that_all_folders_have(tmp_path):
    for folder, formats in (("a", ("solved", "chat", "raw")), ("b", ("chat", "solved"))):
        (tmp_path / folder).mkdir()
        for name in formats:
            (tmp_path / folder / f"{name}.parquet").touch()
    found = tables.score_files(tmp_path / "a", tmp_path / "b")
    assert list(found) == ["chat", "solved"]
    assert found["chat"] == [tmp_path / "a" / "chat.parquet", tmp_path / "b" / "chat.parquet"]
    assert list(tables.score_files(tmp_path / "a")) == ["chat", "raw", "solved"]
    with pytest.raises(InputError, match=r"c: no score file. Run the stage that writes it"):
        tables.score_files(tmp_path / "a", tmp_path / "c")
