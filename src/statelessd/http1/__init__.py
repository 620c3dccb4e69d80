"""HTTP/1.1 with clients: a connection that turns bytes into requests in order, and a server."""
