"""Evaluate models: metrics, the features that they compare, judges, the evaluation of a run, and the comparison of models."""
