"""Inputs of models: schemas, bundled or from the catalogue."""
