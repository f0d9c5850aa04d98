"""What training costs, as it is measured: gradients, products, operations, memory."""
