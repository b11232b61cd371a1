"""valuetrace: which human values does a reward model prefer, and where did it get them?

Floors (imports only go down): 4 ``cli`` · 3 ``audit``, ``parameters``, ``publish``, ``report``, ``verify`` ·
2 ``analysis``, ``figures``, ``training`` · 1 ``lexicon``, ``models``, ``preferences``, ``prompts``, ``published``,
``scoring`` · 0 ``assets``, ``core``, ``hub``, ``stats``, ``tables``.
"""

from valuetrace.core.errors import InputError

__all__ = ["InputError"]
__version__ = "0.1.0"
