"""How bytes travel: one pooled client an origin, late authentication, events, retries, recordings, the demo."""
