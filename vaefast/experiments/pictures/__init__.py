"""What runs and scores look like: grids of images, curves, figures, and the report's page."""
