"""What leaves the house otherwise: which addresses we may call, and downloads from them."""
