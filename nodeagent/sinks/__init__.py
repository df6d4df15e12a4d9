"""Where outcomes go: one file a sink; none of them ever blocks the pipeline."""
