"""What makes a bundle out of a model, on the machine of whoever made the model. Nothing here runs on a node."""
