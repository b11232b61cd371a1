"""Values while a model is trained: the callback, and the profile of a model in memory."""
