"""Processes: the parent, its backends, their sockets, reloads, signals and limits."""
