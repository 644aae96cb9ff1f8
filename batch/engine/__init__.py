"""The engine's parts: pace, retries, breakers, waves, claims and workers; `batch.runner` joins them."""
