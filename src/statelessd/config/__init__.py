"""The settings: declared once, loaded from the file and the environment, checked, reported."""
