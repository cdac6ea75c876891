"""One question and its answer: attachments, tools, schema, retries, and what is kept of it."""
