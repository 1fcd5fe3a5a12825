"""Networks that were trained elsewhere, whose weights come with a package: they judge images, and one of them provides a loss."""
