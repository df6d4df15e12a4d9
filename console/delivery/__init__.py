"""One bundle to one node: the lane, the lease, the mandate, the upload, the gates, the trial."""
