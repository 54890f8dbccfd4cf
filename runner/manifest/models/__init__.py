"""What models take: input schemas, bundled or from the catalogue."""
