"""What figures share: style, labels, layered layouts."""
