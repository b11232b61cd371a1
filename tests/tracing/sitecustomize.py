"""Which functions of the package run: a Python with this folder on its path and VALUETRACE_TRACE set writes them."""

import atexit
import os
import sys
import threading
from contextlib import contextmanager

OPTIMISED = 1  # of a function's code, not of a module's or a class's
ROOTS = ("valuetrace", "stages")
KEYS = tuple(os.path.join("valuetrace", "core", name) for name in ("keys.py", "reach.py", "trees.py"))


def for_keys(frame):
    """Whether a call serves a key alone: no result can come of it (core.keys and what it calls)."""
    while frame is not None and not frame.f_code.co_filename.endswith(KEYS):
        frame = frame.f_back
    return frame is not None


@contextmanager
def watching(root, executed):
    """Add (file from ``root``, first line) of every function of the package that runs inside the block."""
    tops, known = tuple(os.path.join(str(root), name) + os.sep for name in ROOTS), set()

    def on_call(frame, event, argument):
        code = frame.f_code
        if code not in known and code.co_filename.startswith(tops) and code.co_flags & OPTIMISED:
            above = frame.f_back
            # a comprehension of a constant that nobody may use runs as its module is imported
            at_import = code.co_name[0] == "<" and above is not None and not above.f_code.co_flags & OPTIMISED
            # importing a module from a package asks the package for an attribute first; what it finds runs, if anything
            asked = code.co_name == "__getattr__" and above is not None and "importlib" in above.f_code.co_filename
            if not (at_import or asked or for_keys(frame)):
                known.add(code)
                executed.add((os.path.relpath(code.co_filename, root), code.co_firstlineno))

    before = sys.gettrace(), threading.gettrace()
    sys.settrace(on_call)
    threading.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])


def first_line(node):
    """Of a statement, its decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def outside(root, kernel, executed):
    """What ran and is none of the definitions that a kernel's key covers: files and lines."""
    from valuetrace.core import keys, reach

    own, package = keys.kernel(kernel, root), reach.package(root)
    reached, found = own.reached, []
    for path, line in sorted(executed):
        if path.endswith(".j2"):  # a compiled template; a key holds templates whole, by name
            found += [] if os.path.basename(path) in own.digests else [f"{path}:{line}"]
            continue
        name = path.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
        module = package.module(name)
        covered = [
            node for at in reached if at.module == name for node in module.definitions.get(at.name, module.effects)
        ]
        first = {
            id(node): min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) for node in covered
        }
        if name not in reach.OUTSIDE and not any(first[id(node)] <= line <= node.end_lineno for node in covered):
            found.append(f"{path}:{line}")
    return found


if os.environ.get("VALUETRACE_TRACE") and "-m" in sys.orig_argv:
    stage = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if stage.startswith("stages."):
        EXECUTED = set()
        watch = watching(os.getcwd(), EXECUTED)
        watch.__enter__()

        @atexit.register
        def write():
            watch.__exit__(None, None, None)
            with open(os.path.join(os.environ["VALUETRACE_TRACE"], f"{stage}~{os.getpid()}"), "w") as file:
                file.writelines(f"{path}:{line}\n" for path, line in sorted(EXECUTED))
