"""Typed parameters, and every profile of conf/ read by the types that use it."""

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import pytest
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf

from valuetrace import assets
from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.models.rows import Model, Source
from valuetrace.scoring.chat import Format

PROFILES = ("demo", "paper", "tiny")


@dataclass
class Part:
    rate: float
    name: str = "default"


@dataclass
class Whole:
    part: Part
    parts: dict[str, Part]
    mode: Literal["fast", "slow"]
    words: list[str] = field(default_factory=list)
    limit: int | None = None

    def __post_init__(self):
        if self.limit == 13:
            raise ValueError("limit must not be 13")


@pytest.mark.parametrize(
    ("as_type", "value", "expected"),
    [
        (int, 3, 3),
        (float, 0.5, 0.5),
        (float, 3, 3.0),
        (float, float("inf"), float("inf")),
        (bool, True, True),
        (str, "x", "x"),
        (Any, [1, "a"], [1, "a"]),
        (list[str], ["a", "b"], ["a", "b"]),
        (list[list[int]], [[1], []], [[1], []]),
        (dict[str, int], {"a": 1, 2: 3}, {"a": 1, "2": 3}),
        (str | None, None, None),
        (str | None, "x", "x"),
        (int | str, 4, 4),
        (int | str, "106k", "106k"),
        (int | list[int], [1, 2], [1, 2]),
        (Literal["a", "b"], "b", "b"),
        (Part, {"rate": 1}, Part(1.0)),
        (dict[str, Part], {"x": {"rate": 2, "name": "y"}}, {"x": Part(2.0, "y")}),
        (
            Whole,
            {"part": {"rate": 1}, "parts": {}, "mode": "fast", "limit": 5},
            Whole(Part(1.0), {}, "fast", limit=5),
        ),
    ],
)
def test_build(as_type, value, expected):
    found = settings.build(as_type, value, "here")
    assert found == expected
    assert type(found) is type(expected)


GOOD = {"part": {"rate": 1.0}, "parts": {"x": {"rate": 2.0}}, "mode": "fast"}


@pytest.mark.parametrize(
    ("as_type", "value", "message"),
    [
        (int, "3", "here is '3' (str); it must be an integer."),
        (int, True, "here is True (bool); it must be an integer."),
        (int, 1.0, "here is 1.0 (float); it must be an integer."),
        (float, False, "here is False (bool); it must be a number."),
        (float, "1", "here is '1' (str); it must be a number."),
        (bool, 1, "here is 1 (int); it must be true or false."),
        (str, None, "here is None (NoneType); it must be text."),
        (list[str], "abc", "here is 'abc' (str); it must be a list."),
        (list[str], ["a", 1], "here[1] is 1 (int); it must be text."),
        (dict[str, int], [], "here is [] (list); it must be a mapping."),
        (dict[str, int], {"a": "x"}, "here.a is 'x' (str); it must be an integer."),
        (int | str, [1], "here is [1] (list); it must be an integer or text."),
        (list[int | list[int]], [1, [2, "x"]], "here[1][1] is 'x' (str); it must be an integer."),
        (list[str], [date(2026, 1, 1)], "here: Object of type date is not JSON serializable. Put it in quotes."),
        (dict[str, Part | None], {"x": {"rat": 1}}, "here.x.rat: unknown key. Known: rate, name."),
        (str | None, 3, "here is 3 (int); it must be text."),
        (Literal["a", "b"], "c", "here is 'c'; it must be 'a' or 'b'."),
        (Whole, [], "here is [] (list); it must be a mapping."),
        (Whole, {}, "here.part is missing.\nhere.parts is missing.\nhere.mode is missing."),
        (Whole, GOOD | {"mod": 1}, "here.mod: unknown key. Known: part, parts, mode, words, limit."),
        (Whole, GOOD | {"part": {"rate": "x"}}, "here.part.rate is 'x' (str); it must be a number."),
        (Whole, GOOD | {"parts": {"x": {}}}, "here.parts.x.rate is missing."),
        (Whole, GOOD | {"limit": 13}, "here: limit must not be 13"),
    ],
)
def test_build_names_what_is_wrong(as_type, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        settings.build(as_type, value, "here")


def test_get_walks_dotted_keys(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  b-c: {rate: 2}\n", encoding="utf-8")
    assert settings.get("a.b-c", Part, path) == Part(2.0)
    with pytest.raises(InputError, match=re.escape(f"{path}: 'a.d' is missing (found: b-c).")):
        settings.get("a.d", Part, path)
    with pytest.raises(InputError, match=re.escape(f"{path}: 'a.b-c.rate.x' is missing (found: int).")):
        settings.get("a.b-c.rate.x", int, path)
    with pytest.raises(InputError, match=re.escape(f"{path}: 'a.b-c'.rate is missing")):
        path.write_text("a: {b-c: {}}", encoding="utf-8")
        settings.get("a.b-c", Part, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file. Run from the root of the repository."),
        (b"a: [1", "not valid YAML"),
        (b"a: 1\na: 2", "not valid YAML"),
        (b"\xff\xfe\xff", "not valid YAML"),
        (b"- a", "must hold a mapping"),
        (b"", "must hold a mapping"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}.*{message}"):
        settings.load(path)


def test_what_dvc_writes_is_what_is_read(tmp_path):
    """DVC writes YAML 1.2, where 1e-05 is a number and no, on, off are words."""
    values = {"rate": 1e-5, "words": ["no", "on", "off", "null", "12:30", "1e5", "0123"], "size": "106k"}
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)), encoding="utf-8")
    compose_and_dump(tmp_path / "params.yaml", str(tmp_path), None, "config", None, [])
    assert settings.load(tmp_path / "params.yaml") == values


def test_every_profile_is_tested(repository):
    assert {path.stem for path in (repository / "conf" / "profile").glob("*.yaml")} == set(PROFILES)


def test_params_yaml_is_the_composed_default_profile(repository, composed):
    assert settings.load(repository / "params.yaml") == composed("demo"), (
        "params.yaml is not what conf/ composes for the default profile. `dvc exp run` writes it again; so does, from "
        'the root of the repository and without running a stage: python -c "import os; from dvc.utils.hydra import '
        "compose_and_dump; compose_and_dump('params.yaml', os.path.abspath('conf'), None, 'config', None, [])\""
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_source_of_a_profile_is_pinned(composed, profile):
    """By SHA-256, by the lock file (a revision of null), or by a seed; and every licence is named."""
    params = composed(profile)
    rows = settings.build(dict[str, Model], params["models"], "models")
    fetched = settings.build(dict[str, assets.Asset], params["assets"], "assets")
    for row in rows.values():
        assert row.licence
        assert row.source.kind in ("gguf", "hub", "random")
        if row.source.kind == "gguf":
            assert row.source.file in row.source.asset.files
    for asset in [*fetched.values(), *(row.source.asset for row in rows.values() if row.source.asset)]:
        assert asset.licence
        assert all("==" in requirement and len(digest) == 64 for requirement, digest in asset.packages.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constructs": ["agency"]}, "constructs names two constructs"),
        ({"comparisons": {"x": ["a", "a"]}}, "comparison 'x' must name two models"),
        ({"cases": ["upper"]}, "must be 'lower' or 'capitalised'"),
        ({"tokens": {"measure": "kl"}}, "measure 'kl' is not one of llr"),
        ({"tokens": {"contrast": {"Love": ["love"]}}}, "contrast names two word lists"),
    ],
)
def test_analysis_refuses(composed, change, message):
    analysis = composed("tiny")["analysis"]
    changed = {key: {**analysis[key], **item} if key == "tokens" else item for key, item in change.items()}
    with pytest.raises(InputError, match=message):
        settings.build(Analysis, analysis | changed, "analysis")


@pytest.mark.parametrize(
    ("as_type", "value", "message"),
    [
        (Source, {"kind": "gguf", "file": "x"}, "a gguf source needs asset"),
        (Source, {"kind": "hub"}, "a hub source needs repository"),
        (Source, {"kind": "random"}, "a random source needs architecture"),
        (Source, {"kind": "zip"}, "must be 'gguf', 'hub' or 'random'"),
        (Format, {"kind": "text", "space": True, "template": "no prompt"}, "template must hold {prompt} exactly once"),
        (Format, {"kind": "text", "space": True, "template": "{prompt}{prompt}"}, "exactly once"),
        (assets.File, {"sha256": "ab"}, "64 lower-case hexadecimal digits"),
        (assets.File, {"sha256": "A" * 64}, "64 lower-case hexadecimal digits"),
        (assets.Asset, {"kind": "url", "source": "s", "licence": "l", "files": {}}, "files is empty"),
        (
            assets.Asset,
            {"kind": "package", "source": "s", "licence": "l", "files": {"f": {"sha256": "0" * 64, "members": ["m"]}}},
            "a package asset names its packages",
        ),
        (
            assets.Asset,
            {"kind": "url", "source": "s", "licence": "l", "files": {"f": {"sha256": "0" * 64, "path": "p"}}},
            "file f of a url asset lacks its members, url or path",
        ),
    ],
)
def test_rows_that_cannot_work_are_refused(as_type, value, message):
    with pytest.raises(InputError, match=f"^row: .*{message}|^row[.]kind .*{message}"):
        settings.build(as_type, value, "row")
