"""Templates: read from a folder, checked, merged, and filled once per distinct combination."""
