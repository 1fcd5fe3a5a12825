"""Figures: one module for each chapter, one for the figures of a run, and the style that they share."""
