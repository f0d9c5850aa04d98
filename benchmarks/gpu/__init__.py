"""What a machine with a GPU should be asked first: `python -m benchmarks.gpu`, or `make gpu`."""
