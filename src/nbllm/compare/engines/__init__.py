"""Who does the asking: this process (`local`), a Dask cluster (`dask`), or a provider's batches (`batch`)."""
