"""The RunComfy Model API: client, responses and credentials."""
