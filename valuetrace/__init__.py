"""valuetrace: which human values does a reward model prefer, and where did it get them?

Floors (imports only go down): 3 ``cli`` · 2 ``analysis``, ``audit``, ``figures``, ``publish``, ``report``,
``training`` · 1 ``lexicon``, ``models``, ``preferences``, ``prompts``, ``scoring``, ``tiny`` ·
0 ``assets``, ``errors``, ``settings``, ``stage``, ``tables``.
"""

from valuetrace.errors import InputError

__all__ = ["InputError"]
__version__ = "0.1.0"
