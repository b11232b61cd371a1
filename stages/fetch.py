"""Fetch every pinned asset, side by side, and check each file's SHA-256.

In:  params.yaml, assets
Out: data/assets/<name>/         an asset's files
     metrics/assets/<name>.json  their SHA-256: what later stages depend on where the files need not be here
Run: python -m stages.fetch
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from valuetrace import assets
from valuetrace.core import files, settings, stage

OUT = Path("metrics/assets")


def main() -> None:
    rows = settings.get("assets", dict[str, assets.Asset])
    with ThreadPoolExecutor() as pool:  # each waits for the network
        folders = dict(zip(rows, pool.map(assets.fetch, rows, rows.values()), strict=True))
    for path in assets.FETCHED.iterdir():  # what a killed download or a former row left
        if path.name not in rows:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with files.fresh_folder(OUT.with_name(f".{OUT.name}.partial")) as temporary:
        for name, folder in folders.items():
            files.write_json({"asset": name, "files": files.fingerprint(folder)}, temporary / f"{name}.json")
        files.replace_folder(temporary, OUT)


if __name__ == "__main__":
    stage.run(main)
