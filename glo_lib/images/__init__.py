"""From image files to a cache of decoded images: list, unpack, read, crop, decode, store and split them."""
