"""What can be refused, in one clear sentence.

Every error a user can cause is a `DesedTaskError`: its message names the place (file, row or key), the value and the
remedy. Recipes print it and exit with code 2; the service turns it into a problem document. Anything else is a bug.
"""


class DesedTaskError(Exception):
    """Input that is refused; the message is one sentence for the person who gave it."""


class OptionsError(DesedTaskError):
    """A conf, a `--set` or a flag that is unknown, of the wrong type or contradictory."""


class EventTableError(DesedTaskError):
    """A table of events, tags or durations with a row that cannot be right."""


class AudioError(DesedTaskError):
    """Audio that is missing, empty, truncated or not decodable."""


class AudioTooLongError(AudioError):
    """Audio longer than the limit of whoever decodes it."""


class AudioFormatError(AudioError):
    """A container that is not on the list of those that are decoded."""


class CorpusError(DesedTaskError):
    """A data set that is missing, incomplete or inconsistent."""


class FetchError(CorpusError):
    """A file or an archive that cannot be had, is not what it should be, or is refused."""


class CheckpointError(DesedTaskError):
    """A checkpoint that does not fit what it is asked to do."""


class BundleError(DesedTaskError):
    """A bundle that is missing, incomplete or does not reproduce its model."""


class SubmissionError(DesedTaskError):
    """A challenge submission with faults; the message lists them, one per line."""


class RunStoppedError(DesedTaskError):
    """Work that a signal ended; the message says how to go on, `exit_code` is the one that shells expect."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
