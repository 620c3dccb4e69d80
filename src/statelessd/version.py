"""The version of the package, which the build reads as well."""

__version__ = "1.0.0.dev0"
