"""Fetch one pinned asset and check its SHA-256.

In:  params.yaml, assets.<name>
Out: data/assets/<name>/         the asset's files
     metrics/assets/<name>.json  their SHA-256: what later stages depend on where the files need not be here
Run: python stages/fetch.py NAME
"""

import sys

from valuetrace import assets, settings, stage, tables


def main(name: str) -> None:
    folder = assets.fetch(name, settings.get(f"assets.{name}", assets.Asset))
    tables.write_json({"asset": name, "files": tables.fingerprint(folder)}, f"metrics/assets/{name}.json")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
