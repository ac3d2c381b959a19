"""What the server tells its operators: logs and metrics."""
