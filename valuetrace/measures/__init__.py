"""What is measured of score tables, by section of the paper: numbers from tables. Nothing is drawn or trained here."""
