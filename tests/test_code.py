"""The closure of imports on a small package, and what its hash depends on."""

import pytest

from valuetrace.core import code

FILES = {
    "valuetrace/__init__.py": "",
    "valuetrace/alone.py": "import valuetrace.unseen_in_text_only\n",
    "valuetrace/start.py": "import json\nfrom valuetrace import rooms\nfrom valuetrace.rooms import kitchen\n"
    "def f():\n    from valuetrace.rooms.cellar import wine\n    import valuetrace.attic.box\n",
    "valuetrace/rooms/__init__.py": "",
    "valuetrace/rooms/kitchen.py": "from valuetrace import start\n",  # a circle
    "valuetrace/rooms/cellar.py": "wine = 1\n",
    "valuetrace/rooms/garden.py": "",  # nobody asks for it
    "valuetrace/attic/__init__.py": "from valuetrace.stairs import step\n",  # run on the way to the box
    "valuetrace/attic/box.py": "'''from valuetrace.rooms import garden'''\n",  # a text, no import
    "valuetrace/stairs.py": "step = 1\n",
    "stages/run.py": "def main():\n    import valuetrace.attic.box\n",
}
ATTIC = ["valuetrace/__init__.py", "valuetrace/attic/__init__.py", "valuetrace/attic/box.py", "valuetrace/stairs.py"]


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("valuetrace.stairs", ["valuetrace/__init__.py", "valuetrace/stairs.py"]),
        ("valuetrace.attic.box", ATTIC),  # its own package is run first,
        ("stages/run.py", ["stages/run.py", *ATTIC]),
        (
            "valuetrace.start",
            [
                *ATTIC,
                *(f"valuetrace/{name}.py" for name in ("rooms/__init__", "rooms/cellar", "rooms/kitchen", "start")),
            ],
        ),
    ],
)
def test_closure(package, start, found):
    assert code.closure(start, package) == sorted(found)


def test_relative_imports_are_refused(package):
    (package / "valuetrace/alone.py").write_text("from . import stairs\n")
    with pytest.raises(ValueError, match=r"alone\.py, line 1: imports are written in full"):
        code.closure("valuetrace.alone", package)


def test_digest_follows_the_bytes_of_the_closure_and_the_libraries(package, monkeypatch):
    closure = code.closure
    monkeypatch.setattr(code, "ROOT", package)
    monkeypatch.setattr(code, "closure", lambda start: closure(start, package))
    before = code.digest("valuetrace.start")
    assert code.digest("valuetrace.start") == before
    (package / "valuetrace/rooms/garden.py").write_text("changed = True\n")
    assert code.digest("valuetrace.start") == before  # not imported
    with monkeypatch.context() as patch:
        patch.setattr(code, "version", lambda name: "0" if name == "torch" else "1")
        zero = code.digest("valuetrace.start")
        patch.setattr(code, "version", lambda name: "1")
        assert len({before, zero, code.digest("valuetrace.start")}) == 3
    (package / "valuetrace/rooms/cellar.py").write_text("wine = 2\n")  # asked for inside a function only
    assert code.digest("valuetrace.start") != before


def test_what_trains_and_what_searches_include_what_they_rest_on():
    trains, searches = (code.closure(f"valuetrace.{name}") for name in ("training.run", "scoring.search"))
    assert {"valuetrace/training/losses.py", "valuetrace/training/trainer.py", "valuetrace/models/loading.py"} < set(
        trains
    )
    assert {"valuetrace/scoring/shared_prefix.py", "valuetrace/scoring/heads.py"} < set(searches)
