"""Table 2 of the paper for any images: the network's prediction against the loss, one small training run per cell."""
