"""The paper's own released files: fetched, measured again, held against the printed numbers."""
