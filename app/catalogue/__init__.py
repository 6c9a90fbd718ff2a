"""Which models there are: documented facts as data, and the check of a caller's input against them."""
