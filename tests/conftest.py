"""What several tests share. Heavy imports wait until a test asks for them."""

import os
from pathlib import Path

import hypothesis
import pytest

# Two workers with two threads each would wait for one another in circles; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("HF_HUB_OFFLINE", None)  # the hub of the tests is a server of their own

hypothesis.settings.register_profile("repository", deadline=None, max_examples=60)  # no test depends on the clock
hypothesis.settings.load_profile("repository")

LONGEST = ("test_pipeline.py", "test_planting.py")  # files of minutes: begun first, no worker waits for them at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def composed(repository):
    """profile → the parameters that conf/ composes for it, anew at every call."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    def parameters(profile: str) -> dict:
        with initialize_config_dir(str(repository / "conf"), version_base=None):
            return OmegaConf.to_container(compose("config", [f"profile={profile}"]), resolve=True)

    return parameters


@pytest.fixture(scope="session")
def tokenizers() -> dict:
    """The tiny tokenizer of each architecture. Copy one before changing it."""
    from valuetrace.models import tiny

    return {name: tiny.tokenizer(name) for name in tiny.ARCHITECTURES}


@pytest.fixture(scope="session")
def tiny_models() -> dict:
    """A tiny random language model of each architecture."""
    from valuetrace.models import tiny

    return {name: tiny.model(name, seed=3) for name in tiny.ARCHITECTURES}
