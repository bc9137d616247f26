"""What vaefast raises when it is given something it cannot work with.

Every message is one sentence or two: what was given, what was expected, what to do. The command line
prints the message alone and exits with status 2; in Python each error is also the builtin that a caller
would expect (`ValueError`, `FileNotFoundError`, ...).
"""


def first_line(error: BaseException, most: int = 200) -> str:
    """What an error of another package says, as part of a sentence: its first line, or its kind where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0][:most] if said else type(error).__name__


class VaefastError(Exception):
    """Base class of all errors that vaefast raises on purpose."""


class ArgumentError(VaefastError, ValueError):
    """An argument has a value, shape or dtype that cannot work."""


class DataError(VaefastError, ValueError):
    """A data set is missing, damaged or of the wrong kind."""


class DataNotFoundError(DataError, FileNotFoundError):
    """Files of a data set are not where they were looked for."""


class BadFileError(DataError):
    """A file of a data set is damaged, or not what its name says."""


class DeviceError(VaefastError, RuntimeError):
    """The device asked for is not there."""


class BackendError(VaefastError, RuntimeError):
    """The kernel backend asked for cannot run this op here."""


class CheckpointError(VaefastError, RuntimeError):
    """A checkpoint is damaged, or belongs to another model."""


class HubError(CheckpointError):
    """A model on the Hub is not there, may not be had, or the Hub cannot be reached."""


class RunFolderError(VaefastError, RuntimeError):
    """A run folder cannot be used: it holds another run, is not a run, or cannot be written."""


class TrainingError(VaefastError, RuntimeError):
    """Training cannot go on: memory ran out, or a process of it failed."""


class DivergenceError(TrainingError):
    """Training met a value it cannot go on from (NaN, infinity)."""


class ExportError(VaefastError, RuntimeError):
    """A part of a model cannot be exported, or what was exported does not do what the model does."""
