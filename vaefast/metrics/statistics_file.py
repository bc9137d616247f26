"""Means and covariances of features as files: our own, pytorch-fid's, and a cache of those of real images."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..data.cache import cache_dir
from ..errors import ArgumentError, DataError, RunFolderError
from ..files import write_atomically
from .frechet import GaussianStatistics


def is_statistics_file(path: Any) -> bool:
    """Whether it is the path of a .safetensors, or of an .npz that holds `mu` and `sigma`."""
    if not isinstance(path, (str, os.PathLike)) or not Path(path).is_file():
        return False
    if Path(path).suffix == ".safetensors":
        return True
    try:
        return Path(path).suffix == ".npz" and {"mu.npy", "sigma.npy"} <= set(zipfile.ZipFile(path).namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def write_statistics(path: str | os.PathLike[str], statistics: GaussianStatistics) -> Path:
    """Write statistics to a .safetensors file, whole or not at all.

    Raises:
        ArgumentError: another kind of file, or statistics of an unknown number of rows. RunFolderError: it cannot be written.
    """
    if Path(path).suffix != ".safetensors":
        raise ArgumentError(f"Statistics are written to a .safetensors file, got {str(path)!r}.")
    if statistics.n is None:
        raise ArgumentError("These statistics do not tell of how many rows they are: keep the file that they came from.")
    content = {"mean": statistics.mean, "cov": statistics.cov, "n": torch.tensor(statistics.n)}
    return write_atomically(path, save({name: value.cpu().contiguous() for name, value in content.items()}))


def read_statistics(path: str | os.PathLike[str]) -> GaussianStatistics:
    """The statistics in a file by `write_statistics`, or in pytorch-fid's .npz (which does not tell the number of rows).

    Raises:
        DataError: it is damaged, or holds something else.
    """
    try:
        if Path(path).suffix == ".safetensors":
            tensors = load_file(path)
            return GaussianStatistics.from_moments(tensors["mean"], tensors["cov"], int(tensors["n"]))
        with np.load(path, allow_pickle=False) as arrays:
            return GaussianStatistics.from_moments(torch.from_numpy(arrays["mu"]), torch.from_numpy(arrays["sigma"]), None)
    except (OSError, KeyError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as statistics of features ({error}); write it again.") from None


def cached_statistics(
    key: str, compute: Callable[[], GaussianStatistics], notice: Callable[[str], None]
) -> GaussianStatistics:
    """The statistics that `key` names: from the cache folder, or computed now and kept there.

    A damaged file is made anew, a folder that cannot be written costs the caching alone; `notice` hears of both.
    """
    name = hashlib.sha256(f"v1|{key}".encode()).hexdigest()[:32]
    try:
        path = cache_dir() / "features" / f"{name}.safetensors"
    except DataError:  # no home folder
        return compute()
    if path.is_file():
        try:
            return read_statistics(path)
        except DataError as error:
            notice(f"The cached statistics are damaged ({error}): computing them anew.")
    statistics = compute()
    try:
        write_statistics(path, statistics)
    except RunFolderError as error:
        notice(f"The statistics of the real images could not be cached ({error}): the score is not affected.")
    return statistics

