"""The command `runner`: one module for each subcommand, `main.py` to choose among them."""
