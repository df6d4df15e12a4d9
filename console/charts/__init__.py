"""What charts show: figures in a window of time, drawn as text off the screen's path."""
