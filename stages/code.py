"""Write the key of every stage's code: the definitions that it can reach, and the libraries beneath them.

In:  stages/, valuetrace/, requirements.lock; the installed libraries
Out: metrics/code/<stage>.json  kernel, key; libraries: name → version; definitions: name → digest of its syntax tree
     (valuetrace.core.keys). A stage depends on its file: what changes no digest runs nothing again.
Run: python -m stages.code
"""

from pathlib import Path

from valuetrace.core import files, keys, stage

OUT = Path("metrics/code")


def main() -> None:
    keys.check_pins()
    with files.fresh_folder(OUT.with_name(f".{OUT.name}.partial")) as temporary:
        for script in sorted(Path("stages").rglob("*.py")):
            name = script.with_suffix("").relative_to("stages")
            kernel = ".".join(("stages", *name.parts))
            files.write_json(keys.told(kernel), temporary / f"{name}.json")
        files.replace_folder(temporary, OUT)


if __name__ == "__main__":
    stage.run(main)
