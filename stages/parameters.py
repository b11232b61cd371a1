"""Refuse wrong parameters before minutes of work, all of them at once.

In:  params.yaml
Out: metrics/parameters.json  always the same: what depends on it is not run again for a parameter that changes
Run: python -m stages.parameters
"""

from valuetrace.core import files, settings, stage
from valuetrace.parameters import check


def main() -> None:
    check(settings.load())
    files.write_json({"valid": True}, "metrics/parameters.json")


if __name__ == "__main__":
    stage.run(main)
