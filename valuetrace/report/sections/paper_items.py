"""Every figure, table and test of the paper: where its equivalent is, and what differs (conf/paper_items.yaml)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from valuetrace.core import settings
from valuetrace.report.page import Context

TITLE, ORDER = "The paper, item by item", 80
ITEMS = Path("conf/paper_items.yaml")
NEEDS = (str(ITEMS),)


@dataclass(frozen=True)
class Item:
    """One row: ``where`` are outputs of the pipeline (``<run>``: any comparison); ``how`` it differs, or why."""

    item: str
    what: str
    where: list[str]
    status: Literal["same", "different", "missing"]
    how: str


def items(path: Path = ITEMS) -> list[Item]:
    """The rows of the data file; InputError names what is wrong with one."""
    return settings.build(list[Item], settings.load(path).get("items"), f"{path}: 'items'")


def render(context: Context) -> Markup:
    return context.fill("sections/paper_items.html.j2", items=items())
