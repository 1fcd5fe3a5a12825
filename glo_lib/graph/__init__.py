"""TensorFlow: its import, its devices, faster layers, the cost of layers, and checks for values that are not finite."""
