"""Scores of models: what there is (`registry`), how images are looked at (`views`), and what is made of both."""
