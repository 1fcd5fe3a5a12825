"""The machine around a run: the cache folder, whole files, locks, and the progress bar."""
