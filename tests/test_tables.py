"""Tables on disk: round trips, the authors' CSV files, bad files, atomic writes."""

import errno
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
from valuetrace.measures.compare import inputs
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


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64", object])
def test_csv_round_trip_keeps_six_digits_and_every_word(tmp_path, dtype):
    words, counts = ["null", "NA", "", "a\nb"], [12_345_678, 0, -1, 7]
    numbers = pd.Series([0.1, 1 / 3, 1.23456789e-30, -1_000_002.0], dtype=dtype)
    path = files.write_csv(pd.DataFrame({"word": words, "x": numbers, "n": counts}), tmp_path / "t.csv")
    assert b"\r" not in path.read_bytes()
    read = files.read_csv(path, ("word", "x"))
    expected = [0.1, 0.333333, 1.23457e-30, -1_000_002.0]  # a whole number keeps its digits
    pd.testing.assert_frame_equal(read, pd.DataFrame({"word": words, "x": expected, "n": counts}))
    again = files.write_csv(read, tmp_path / "again.csv")  # as a resumed training does with its log
    assert again.read_bytes() == path.read_bytes()


def test_json_keeps_six_digits_except_where_a_configuration_is_written(tmp_path):
    value = {"p": 1 / 3, "n": 12_345_678.0, "count": 12_345_678, "list": [np.float32(0.1), np.pi]}
    rounded = {"p": 0.333333, "n": 12_345_678.0, "count": 12_345_678, "list": [0.1, 3.14159]}
    assert files.read_json(files.write_json(value, tmp_path / "m.json")) == rounded
    factors = {"short_factor": [1.0299999713897705], "eps": 1e-6}
    assert files.read_json(files.write_json(factors, tmp_path / "c.json", exact=True)) == factors


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
    path = csv(tmp_path / "r.csv", "response,a", ["x,", "y,NaN", "z,na", "v, 1e-3 "])
    np.testing.assert_array_equal(tables.read_scores(path)["a"], np.float32([np.nan, np.nan, np.nan, 1e-3]))


@pytest.mark.parametrize("bad", ["inf", "-inf", "1e39", "-1e300"])
def test_infinite_and_overflowing_scores_are_refused(tmp_path, bad):
    path = csv(tmp_path / "s.csv", "response,a,b", ["x,1,2", f"y,3,{bad}"])
    with pytest.raises(InputError, match=r"s\.csv: column b, line 3: .* is no finite float32 number"):
        tables.read_scores(path)
    with np.errstate(over="ignore"):
        frame = pd.DataFrame({"token_id": pd.array([1, 2], "Int64"), "b": np.float32([2, float(bad)])})
    path = tables.write_scores(frame.assign(token_name="x", token_decoded=["x", "y"]), tmp_path / "s.parquet", {})
    with pytest.raises(InputError, match=r"s\.parquet: column b, row 2: .* is no finite float32 number"):
        inputs.read_table(path, {"s": inputs.Origin("base")})


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


def refused(number):
    def write(path):
        (path / "half" if path.is_dir() else path).write_text("half", encoding="utf-8")
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "disk is full: free some space"),
        (errno.EDQUOT, "disk is full"),
        (errno.EROFS, "Make it writable"),
        (errno.EACCES, "choose another place"),
    ],
)
def test_a_full_or_read_only_disk_is_one_line_and_nothing_is_lost(tmp_path, number, remedy):
    path = files.write_text("old", tmp_path / "f.txt")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: cannot be written .*{remedy}"):
        files.write_atomically(path, refused(number))
    folder, temporary = tmp_path / "folder", tmp_path / ".folder.partial"
    files.write_text("old", folder / "f.txt")
    with (
        pytest.raises(InputError, match=f"{re.escape(str(temporary))}: cannot be written .*{remedy}"),
        files.fresh_folder(temporary),
    ):
        refused(number)(temporary)
    assert path.read_text(encoding="utf-8") == (folder / "f.txt").read_text(encoding="utf-8") == "old"
    assert sorted(tmp_path.iterdir()) == [path, folder]


def test_other_errors_of_the_system_keep_their_traceback(tmp_path):
    with pytest.raises(ConnectionRefusedError):
        files.write_atomically(tmp_path / "f", refused(errno.ECONNREFUSED))


@pytest.mark.parametrize("place", ["file/deep/f.txt", "file/f.txt", "folder"])
def test_what_stands_in_the_way_is_named(tmp_path, place):
    files.write_text("old", tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / place))}: .*move it away"):
        files.write_text("new", tmp_path / place)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with files.fresh_folder(tmp_path / ".f.partial") as temporary:
            files.write_text(content, temporary / content)
            files.replace_folder(temporary, tmp_path / "f")
    assert [path.name for path in tmp_path.rglob("*")] == ["f", "new"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_folder_replaces_no_file_and_no_link(tmp_path, kind):
    target, place = tmp_path / "elsewhere", tmp_path / "f"
    files.write_text("old", target / "x")
    place.symlink_to(target) if kind == "link" else place.write_text("old", encoding="utf-8")
    with (
        pytest.raises(InputError, match=f"^{re.escape(str(place))}: .*move it away"),
        files.fresh_folder(tmp_path / ".f.partial") as temporary,
    ):
        files.replace_folder(temporary, place)
    assert (place / "x" if kind == "link" else place).read_text(encoding="utf-8") == "old"


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    """The new folder cannot be moved, or the process dies between the two moves."""
    files.write_text("old", tmp_path / "f" / "x")
    move = type(tmp_path).replace

    def fails(error):
        def replace(path, to):
            if path.name == ".f.partial":
                raise error
            return move(path, to)

        return replace

    for error in (OSError(errno.EROFS, "read-only"), KeyboardInterrupt()):
        with (
            monkeypatch.context() as patch,
            pytest.raises((InputError, KeyboardInterrupt)),
            files.fresh_folder(tmp_path / ".f.partial") as temporary,
        ):
            patch.setattr(type(tmp_path), "replace", fails(error))
            files.replace_folder(temporary, tmp_path / "f")
        assert (tmp_path / "f" / "x").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


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
    with pytest.raises(InputError, match=r"c: no score file. Run dvc repro token_logprobs"):
        tables.score_files(tmp_path / "a", tmp_path / "c")
