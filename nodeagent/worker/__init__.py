"""The process that runs one bundle: sources, pipeline, model, recorder, and its model's own socket."""
