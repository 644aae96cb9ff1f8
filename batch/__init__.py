"""Roll a spreadsheet of phone numbers out to a telephony API."""

from batch.version import __version__ as __version__
