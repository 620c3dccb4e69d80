"""TLS on both sides: the listeners' certificate, and whom to trust as the broker."""
