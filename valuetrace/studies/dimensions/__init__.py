"""More dictionaries side by side: what they share, what is valence, what differs between models."""
