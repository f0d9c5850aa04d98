"""Network architectures in plain `torch.nn`: building blocks of workloads."""
