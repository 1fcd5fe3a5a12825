"""TensorFlow itself: how it is imported, its devices, faster layers, what layers cost, and numbers that stay finite."""
