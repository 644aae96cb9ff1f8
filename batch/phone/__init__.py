"""Phone numbers: read out of cells, each fine, mended, or rejected with the evidence."""
