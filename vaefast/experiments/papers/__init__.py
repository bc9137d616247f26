"""What the reproductions of papers share: cells trained and scored once, tables over trials, claims, and a line for each call."""
