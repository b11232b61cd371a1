"""Pictures from tables. Nothing is computed here."""
