"""Hinrichsen, "Variational Autoencoders aren't Very Varied (As Generators)": BigGANs against VAEs of the same parts."""
