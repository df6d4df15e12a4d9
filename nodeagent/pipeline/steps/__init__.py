"""The verbs of a pipeline: each step a file, told its tags once and then one frame after another."""
