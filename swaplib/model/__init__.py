"""What exists: swap entries, the gather, kernels, machines, storms and policies. Values and pure functions."""
