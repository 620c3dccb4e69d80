"""Which form of the package runs. Both have the same source, and differ only in speed."""

FORM = "pure Python" if __file__.endswith(".py") else "compiled"
