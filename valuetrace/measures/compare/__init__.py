"""Section 2: reward models compared by their bases, with words, models and lineages as the unit."""
