"""From atomic files to batches: events, histories, item texts and their embeddings."""
