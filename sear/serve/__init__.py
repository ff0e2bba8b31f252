"""The HTTP service of a trained model, and its page. Needs the extra `serve` (FastAPI, uvicorn, prometheus-client)."""
