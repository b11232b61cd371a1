"""Scores from models: conversations as token ids, exhaustive search with reward models, log-probabilities."""
