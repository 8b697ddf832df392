"""The errors that a user can cause and can mend."""


class InputError(ValueError):
    """Something given to shapeopt is wrong; the message says what it is and what to do."""


class ExtractionError(RuntimeError):
    """An extraction could not be finished; the message says how far it got and why."""


class EmptySurfaceError(InputError):
    """The network has no zero in the box."""
