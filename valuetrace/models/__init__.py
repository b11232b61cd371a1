"""Models as rows of data: fetched, converted, loaded, and tiny ones drawn for tests."""
