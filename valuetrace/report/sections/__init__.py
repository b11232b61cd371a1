"""The sections of the report, one module and one template each (valuetrace/report/page.py says what a module has)."""
