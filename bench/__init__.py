"""Every figure that we claim, one command each: `python -m bench [NAME...]`."""
