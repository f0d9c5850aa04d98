"""Text for language models: corpora, tokens, blocks of tokens, and the workload made of them."""
