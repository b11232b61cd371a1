"""valuetrace: which human values does a reward model prefer, and where did it get them?

Floors (imports only go down): 3 ``cli`` · 2 ``analysis``, ``figures``, ``report`` ·
1 ``scoring``, ``lexicon``, ``prompts``, ``models`` · 0 ``assets``, ``tables``, ``settings``.
"""

from valuetrace.errors import InputError

__all__ = ["InputError"]
__version__ = "0.1.0"
