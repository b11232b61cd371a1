"""What everything rests on: files, settings, keys, errors, how a stage starts. No knowledge of models or words."""
