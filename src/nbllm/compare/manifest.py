def manifest(*a, **k):
    return {}
