"""Fetch what the authors of the paper released, and check every file.

In:  params.yaml: published.sources; conf/published/language_models.csv
Out: data/published/**                the files, at their path below the authors' data/
     metrics/published/sources.json   the SHA-256 of each; lacks: the parts that could not be had
Run: python -m stages.published.fetch
"""

from valuetrace.core import files, settings, stage
from valuetrace.measures.published import sources


def main() -> None:
    rows = settings.get("published.sources", sources.Sources)
    lacks = sources.fetch(rows)
    every = files.fingerprint(sources.FETCHED).items()  # downloads to be taken up again are none of them
    here = {path: digest for path, digest in every if not path.endswith(".part") and ".cache/" not in path}
    files.write_json({"url": rows.url, "lacks": lacks, "files": here}, "metrics/published/sources.json")


if __name__ == "__main__":
    stage.run(main)
