"""Search: parse, plan, compile, page."""
