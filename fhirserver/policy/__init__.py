"""Who may see and do what: pure values and functions."""
