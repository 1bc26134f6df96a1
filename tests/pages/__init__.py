"""Pages, in a browser and without."""
