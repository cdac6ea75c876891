"""One module a magic: parse the line, call the workspace once, show."""
