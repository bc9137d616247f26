"""Runs as a person orders them: presets, pictures, scores, reports, documented experiments."""
