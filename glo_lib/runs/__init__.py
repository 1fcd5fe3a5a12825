"""The folder of a run and how it is opened: settings, checkpoints, history and codes."""
