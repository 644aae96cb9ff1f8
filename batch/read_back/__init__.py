"""Reading back: what the target shows, compared with what was sent, before, during and after a run."""
