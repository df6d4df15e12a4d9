"""The supervisor's side of workers: kept serving, switched without a lost request, brought back."""
