"""What a caller is shown, compared with what a server shows that holds the permitted rows alone."""
