"""valuetrace: which human values does a reward model prefer, and where did it get them?

Floors (imports only go down): 5 ``cli`` · 4 ``adopt``, ``audit``, ``forecast``, ``monitoring``, ``parameters``,
``publish``, ``report``, ``verify`` · 3 ``studies``, ``subjects`` · 2 ``figures``, ``measures``, ``training``
· 1 ``lexicon``, ``models``, ``preferences``, ``prompts``, ``scoring`` · 0 ``assets``, ``core``, ``hub``, ``stats``,
``tables``.
"""

from importlib import import_module

from valuetrace.core.errors import InputError

__version__ = "0.1.0"
__all__ = ["InputError", "ValueProfileCallback", "profile"]

# public names whose modules are imported at first use: seconds of torch and transformers
_AT_FIRST_USE = {"profile": "valuetrace.monitoring.callback", "ValueProfileCallback": "valuetrace.monitoring.callback"}


def __getattr__(name: str):
    if name in _AT_FIRST_USE:
        return getattr(import_module(_AT_FIRST_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
