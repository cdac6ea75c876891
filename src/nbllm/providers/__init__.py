"""Who can be asked: rows from four places, laid over each other. Called, it lists them: `nbllm.providers()`."""
