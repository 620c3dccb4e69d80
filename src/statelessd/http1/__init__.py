"""HTTP/1.1 for clients: one connection each, from bytes to requests in order; and their server."""
