"""A model file on this machine becomes a provider: the extra `local`.

`servers.LocalServers` starts a child process for a row with `gguf`, `serve` is what runs in it, `gguf` reads the
first bytes of the file. Nothing here is imported before a local model is asked for.
"""
