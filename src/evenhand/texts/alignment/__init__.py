"""Language models trained on texts that gate and selection let through: LoRA by SFT, then DPO from there, by TRL and PEFT."""
