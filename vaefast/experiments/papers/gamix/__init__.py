"""Rivera, "How to train your VAE" (2023): what each term of GAMIX-VAE does, and how it compares."""
