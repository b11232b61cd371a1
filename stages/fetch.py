"""Fetch one pinned asset and check its SHA-256.

In:  params.yaml, assets.<name>
Out: data/assets/<name>/  the asset's files
Run: python stages/fetch.py NAME
"""

import sys

from valuetrace import assets, settings, stage


def main(name: str) -> None:
    assets.fetch(name, settings.get(f"assets.{name}", assets.Asset))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
