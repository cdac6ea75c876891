"""What providers offer: their model lists fetched, kept, searched and shown."""
