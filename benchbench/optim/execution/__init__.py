"""How a mini-batch is computed: in parts, by several processes, in which precision, compiled or not."""
