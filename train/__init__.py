"""The trainer: `deepspeed train/main.py`."""
