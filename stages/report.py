"""Tell the story on one self-contained page.

In:  what the sections in valuetrace/report/sections/ need (metrics/, plots/, conf/paper_items.yaml); params.yaml:
     models, bases, profile, profile_note, format_notes, compare.runs
Out: plots/report.html  (no network; every number names its metrics file)
Run: python -m stages.report
"""

from valuetrace.core import files, stage
from valuetrace.report import page


def main() -> None:
    files.write_text(page.report(), "plots/report.html")


if __name__ == "__main__":
    stage.run(main)
