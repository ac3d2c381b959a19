"""What is recorded of whom, who may see it, and that nothing goes unrecorded."""
