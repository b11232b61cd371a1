"""Pages: every number from a metrics file that it names."""
