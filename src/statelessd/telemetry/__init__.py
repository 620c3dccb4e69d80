"""Figures that are counted and kept for people. Other rooms put values in."""
