"""The words that are ranked, and how many of them a vocabulary holds as single tokens."""

TITLE, ORDER = "The words", 20
NEEDS = ("metrics/lexicons.json", "metrics/base_preferences.json")
