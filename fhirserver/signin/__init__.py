"""The pages on which people sign in, join, and look after their accounts."""
