"""From image files to a checked cache of decoded images: list, unpack, read, crop, decode, store, split."""
