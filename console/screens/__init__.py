"""The screens of the app: they mediate between what is known and what is drawn."""
