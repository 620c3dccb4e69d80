"""Decoders of forms and JSON that work in steps, so that none holds the event loop."""
