"""What one training's values owe to its seed, and which tests see that: from the runs of the ablation."""
