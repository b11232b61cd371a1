"""Section 3: what two base models prefer, and the implicit reward between them."""
