"""Who is who: identifiers that only one may have, and how alike two descriptions of a person are. Pure."""
