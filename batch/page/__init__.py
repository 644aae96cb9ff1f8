"""`report.html`: the run as one page for people, which needs neither a network nor another file."""
