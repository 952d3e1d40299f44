"""Training: pretraining of the embedded base model, and SFT and GRPO of any causal model through TRL."""
