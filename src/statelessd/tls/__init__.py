"""TLS on both sides: the certificate of the listeners, and the trust in the broker."""
