"""Unfold the factorial design into the prompt sets.

In:  prompts/design.yaml
Out: prompts/value_laden.csv  key, text, framing, adjective, superlative, concision  (54 rows, Appendix E)
     prompts/authority.csv    key, text, split  (36 train and 9 test rows, Appendix F)
Run: python -m stages.prompts
"""

from valuetrace import prompts
from valuetrace.core import files, stage


def main() -> None:
    files.write_csv(prompts.value_laden(), "prompts/value_laden.csv")
    files.write_csv(prompts.authority_boost(), "prompts/authority.csv")


if __name__ == "__main__":
    stage.run(main)
