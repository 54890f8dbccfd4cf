"""JSON Schema of the manifest, for editors."""
