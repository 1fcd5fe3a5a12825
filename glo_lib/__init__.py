"""Generative Latent Optimization: the tested functions behind the book.

The package itself imports nothing, so that the worker processes that draw synthetic faces start without loading TensorFlow.
"""

__version__ = "0.1.0"
