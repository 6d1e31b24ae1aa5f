"""The paper's ablation (Table 3) on the benchmark with ground truth: one command from data to table."""
