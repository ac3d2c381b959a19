"""What the search layer understands and makes, without a database."""
