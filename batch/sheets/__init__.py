"""Sheets: opened whatever their format, read as text in columns, every damage with its evidence."""
