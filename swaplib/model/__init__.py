"""What exists: the gather, kernels, machines, storms and policies. Values and pure functions."""
