"""Ways of computing a mini-batch: in parts, by several processes, in lower precision, compiled."""
