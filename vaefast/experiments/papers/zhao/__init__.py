"""Zhao, Song & Ermon, "Towards Deeper Understanding of Variational Autoencoding Models": figures 2 to 5."""
