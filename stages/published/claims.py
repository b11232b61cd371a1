"""Every printed number beside the recomputed one.

In:  metrics/published/**/*.json, plots/published/; conf/published/claims.csv
Out: metrics/published/claims.json  claims: item, claim, printed, recomputed, beside, agrees, explanation; counts
     plots/published/claims.csv     the same table
Run: python -m stages.published.claims
"""

import pandas as pd

from valuetrace.core import files, stage
from valuetrace.measures.published import claims

MADE_HERE = "claims"


def main() -> None:
    paths = {
        path.relative_to(claims.METRICS).with_suffix("").as_posix(): path for path in claims.METRICS.rglob("*.json")
    }
    metrics = {name: files.read_json(path) for name, path in paths.items() if name != MADE_HERE}
    found = claims.check(claims.rows(), metrics)
    files.write_json({"counts": claims.counts(found), "claims": found}, claims.METRICS / f"{MADE_HERE}.json")
    files.write_csv(pd.DataFrame(found), "plots/published/claims.csv")


if __name__ == "__main__":
    stage.run(main)
