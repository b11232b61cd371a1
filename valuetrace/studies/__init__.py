"""Experiments on the instrument itself, which may train: planted values, seed variance, authority, dimensions."""
