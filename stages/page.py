"""Write one page of its own: a section of valuetrace/report/sections/ that has a group of stages to itself.

In:  what the section needs (metrics/, plots/, conf/published/); params.yaml: models, profile, profile_note
Out: plots/<name>.html  (no network; every number names its metrics file)
Run: python -m stages.page NAME
"""

import sys

from valuetrace.core import files, stage
from valuetrace.report import page


def main(name: str) -> None:
    files.write_text(page.single(name), f"plots/{name}.html")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
