"""Speed and memory, measured beside their peers in the same run; nothing here is a test."""
