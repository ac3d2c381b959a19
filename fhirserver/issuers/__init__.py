"""Other servers that say who somebody is: what they publish, what they sign, and whom they mean."""
