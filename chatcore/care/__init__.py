"""What becomes of data in time: how long it is kept, what is left of a person, and copies that bring it back."""
