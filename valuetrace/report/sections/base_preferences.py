"""Do two bases rank agency and communion words differently? (Section 3.1)"""

TITLE, ORDER = "Preferences of the bases (Section 3.1)", 30
ABSENT = "The bases were not compared."
NEEDS = ("metrics/base_preferences.json", "plots/base_preferences.png", "plots/format_grid.png")
