"""How to read the page, and how to make it again."""

TITLE, ORDER = "How to read this, and how to make it again", 90
