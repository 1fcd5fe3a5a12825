"""Operating system services for a run: the cache folder, atomic replacement of files, locks, and the progress bar."""
