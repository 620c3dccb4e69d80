"""Requests of services that sign what they send: verified, and made into messages. No I/O."""
