"""Edge subdivision: the whole complex, or the part of it around the zero set."""
