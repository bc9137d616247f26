"""Dai & Wipf, "Diagnosing and Enhancing VAE Models" (ICLR 2019): tables 1 to 3, figures 1 and 2."""
