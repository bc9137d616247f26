"""Train, sample and score variational autoencoders and small GANs at the speed of the hardware."""

__version__ = "0.1.0"
