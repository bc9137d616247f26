"""What a run leaves to look at: pictures, curves and the report."""
