"""The fleet: what is in force at every number, what a plan would change, and how to take a run back."""
