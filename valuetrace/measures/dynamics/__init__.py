"""Section 4: how ranks move while a reward model is trained, and what they keep of the base."""
