"""What a model achieved: metrics, the features they compare, the evaluation of a run, and the comparison of models."""
