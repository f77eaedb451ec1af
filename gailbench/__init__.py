"""gailbench: Generative Adversarial Imitation Learning (Ho & Ermon, 2016), reproduced cell by cell."""

__version__ = "0.1.0"
