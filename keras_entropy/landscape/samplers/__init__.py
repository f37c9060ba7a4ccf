"""Samplers: they move walkers through the box of a problem."""
