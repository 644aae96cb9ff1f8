"""The report's files but for the page, and the values that they all tell; `batch.reporting` writes them."""
