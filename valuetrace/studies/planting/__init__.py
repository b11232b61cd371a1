"""Values whose truth is known: planted into copies of a base, looked for in the reward models trained on them.

What is planted where is data (``planting`` in params.yaml); a *block* is one split of the words, one finetuning seed
and one reward-model seed, and blocks are the unit of every interval.
"""
