"""FID without the network: any extractor, statistics, their files and their cache."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast import data, metrics
from vaefast.errors import ArgumentError, DataError, DataNotFoundError
from vaefast.metrics import (
    GaussianStatistics,
    InceptionScore,
    extract_features,
    fid,
    frechet_distance,
    image_statistics,
    read_statistics,
    write_statistics,
)

QUIET = {"notice": lambda _: None}


class Means:
    """An extractor: means of the rows of the first channel. Counts what it sees."""

    identity = "row means"

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        x = images / 255 if images.dtype == torch.uint8 else images
        return x[:, 0].mean(2).double()


def images(n, seed):
    return torch.randint(0, 256, (n, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_any_extractor_and_its_warning():
    a, b = images(60, 1), images(50, 2)
    with pytest.warns(UserWarning) as said:
        found = fid(a, b, extractor=Means())
    assert float(found) == pytest.approx(frechet_distance(Means()(a), Means()(b)), rel=1e-9)
    assert (found.real, found.fake, found.features) == (60, 50, "row means")
    assert [w.message.args[0][:9] for w in said] == ["60 real i", "50 genera"]
    many = images(2048, 3)
    heard = []
    fid(many, many, extractor=Means(), notice=heard.append)
    assert not heard


def test_blocks_are_bounded():
    class Watching(Means):
        largest = 0

        def __call__(self, x):
            self.largest = max(self.largest, len(x))
            return super().__call__(x)

    watching = Watching()
    image_statistics(watching, images(2500, 4))
    assert watching.seen == 2500 and watching.largest == 1000


def test_folders_archives_and_arrays(tmp_path):
    from benchmarks.inception import write_pngs

    a, b = images(12, 5), images(10, 6)
    folder = write_pngs(a, tmp_path / "a")
    np.savez(tmp_path / "b.npz", images=b.numpy())
    found = fid(folder, tmp_path / "b.npz", extractor=Means(), cache=False, **QUIET)
    assert found == fid(a, b, extractor=Means(), **QUIET)
    with pytest.raises(DataError):
        fid(tmp_path / "nowhere", b, extractor=Means(), **QUIET)


def test_statistics_as_files(tmp_path):
    a, b = images(40, 7), images(40, 8)
    statistics = image_statistics(Means(), a)
    expected = fid(a, b, extractor=Means(), **QUIET)
    file = write_statistics(tmp_path / "a.safetensors", statistics)
    assert fid(file, b, extractor=Means(), **QUIET) == pytest.approx(expected)
    assert read_statistics(file).n == 40
    np.savez(tmp_path / "a.npz", mu=statistics.mean.numpy(), sigma=statistics.cov.numpy())
    found = fid(tmp_path / "a.npz", b, extractor=Means(), **QUIET)
    assert found.value == pytest.approx(expected.value) and found.real is None and "an unknown number" in str(found)
    unknown = read_statistics(tmp_path / "a.npz")
    for change in (lambda: unknown.update(torch.zeros(2, 6)), lambda: GaussianStatistics(6).merge(unknown),
                   lambda: write_statistics(tmp_path / "c.safetensors", unknown)):  # fmt: skip
        with pytest.raises(ArgumentError):
            change()
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        fid(file, b, extractor=Means(), **QUIET)
    with pytest.raises(ArgumentError, match="safetensors"):
        write_statistics(tmp_path / "a.npy", statistics)


def test_real_statistics_are_cached_by_digest(cache):
    real, fake = data.as_image_set(images(30, 9)), images(30, 10)
    first, second = Means(), Means()
    value = fid(real, fake, extractor=first, **QUIET)
    assert fid(real, fake, extractor=second, **QUIET) == value and (first.seen, second.seen) == (60, 30)
    for other in ({"rounded": True}, {"cache": False}):
        third = Means()
        fid(real, fake, extractor=third, **other, **QUIET)
        assert third.seen == 60
    (file,) = [f for f in (cache / "features").iterdir() if read_statistics(f).n == 30][:1]
    for path in (cache / "features").iterdir():
        path.write_bytes(file.read_bytes()[:50])
    heard, fourth = [], Means()
    assert fid(real, fake, extractor=fourth, notice=heard.append) == value
    assert fourth.seen == 60 and "damaged" in heard[0]


def test_an_unwritable_cache_costs_the_caching_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path / "file"))
    heard = []
    fid(data.as_image_set(images(9, 0)), images(9, 1), extractor=Means(), notice=heard.append)
    assert "could not be cached" in heard[0]


def test_extractors_that_return_something_else():
    with pytest.raises(ArgumentError, match="expected a tensor"):
        extract_features(lambda x: x, images(3, 0))


PROCESS = """
import json, sys, torch, torch.distributed as dist
from vaefast.metrics import GaussianStatistics, InceptionScore
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
x = torch.randn(21, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 50
part = x[:8] if rank == 0 else x[8:]
s = GaussianStatistics(4).update(part).all_reduce()
i = InceptionScore(2).update(part).all_reduce().compute()
torch.testing.assert_close(s.cov, torch.cov(x.T)); torch.testing.assert_close(s.mean, x.mean(0))
print(json.dumps([s.n, i.n, i.mean]))
"""


def test_over_processes(tmp_path):
    command = [sys.executable, "-c", PROCESS]
    running = [subprocess.Popen([*command, str(r), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True) for r in (0, 1)]
    said = [json.loads(p.communicate(timeout=120)[0].splitlines()[-1]) for p in running]
    x = torch.randn(21, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 50
    whole = InceptionScore(2).update(x[:8]).merge(InceptionScore(2).update(x[8:])).compute()
    assert said[0] == said[1] == [21, 21, pytest.approx(whole.mean, rel=1e-12)]


def test_inception_score_by_its_definition():
    logits = torch.randn(103, 7, generator=torch.Generator().manual_seed(1)) * 3
    p = logits.double().softmax(1)
    of = InceptionScore(4)._split_of(torch.arange(103))
    assert of.bincount().tolist() == [26, 26, 26, 25] or sorted(of.bincount().tolist()) == [25, 26, 26, 26]
    parts = [p[of == i] for i in range(4)]
    scores = torch.stack([(q * (q.log() - q.mean(0).log())).sum(1).mean().exp() for q in parts])
    for size in (1, 10, 103):
        streamed = InceptionScore(4)
        for batch in logits.split(size):
            streamed.update(batch)
        found = streamed.compute()
        assert found.mean == pytest.approx(float(scores.mean()), rel=1e-12)
        assert found.std == pytest.approx(float(scores.std(correction=0)), rel=1e-9) and found[2:] == (103, 4)
    # One sure class each: as many as there are classes. The same for all: 1.
    assert InceptionScore(1).update(torch.eye(7) * 1000).compute().mean == pytest.approx(7)
    assert InceptionScore(1).update(torch.ones(9, 7)).compute().mean == pytest.approx(1)


def test_more_features_than_images_is_told():
    images, notices = torch.rand(2100, 1, 2, 2), []
    fid(images, images, extractor=lambda x: x.flatten(1).repeat(1, 600), notice=notices.append)
    assert len(notices) == 2 and all("2,400 features" in text for text in notices)


def test_paths_are_looked_at_before_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr("vaefast.metrics.inception.load_weights", lambda *a, **k: pytest.fail("asked for the weights"))
    for call in (lambda: fid(torch.zeros(2, 1, 4, 4), tmp_path / "a"), lambda: metrics.inception_score(tmp_path / "a"),
                 lambda: metrics.kernel_inception_distance(tmp_path / "a", tmp_path)):
        with pytest.raises(DataNotFoundError, match="does not exist"):
            call()


def test_files_of_several_sizes_and_bad_ones(tmp_path):
    for i, size in enumerate(((4, 4), (5, 4), (4, 6))):
        Image.new("L", size, 50 * i).save(tmp_path / f"{i}.png")
    (tmp_path / "0a.png").write_text("x")
    with pytest.raises(DataError, match="on_bad="):
        fid(tmp_path, tmp_path, extractor=Means(), cache=False, **QUIET)
    with pytest.raises(DataError, match="size="):
        fid(tmp_path, tmp_path, extractor=Means(), cache=False, on_bad="skip", **QUIET)
    assert fid(tmp_path, tmp_path, extractor=Means(), cache=False, on_bad="skip", size=4, **QUIET).real == 3


@pytest.mark.parametrize("order", ["in turn", "sorted", "runs of 10", "in turn of 9", "sorted in 100s", "random"])
def test_inception_score_of_images_in_any_order(order):
    """Sure classes: the score is exp of the entropy of the classes in a split, 10 where all are equally many."""
    i = torch.arange(2000)
    classes = {"in turn": i % 10, "sorted": i // 200, "runs of 10": i // 10 % 10, "in turn of 9": i % 9,
               "sorted in 100s": i // 100 % 10,
               "random": torch.randint(10, (2000,), generator=torch.Generator().manual_seed(3))}[order]
    logits = torch.full((2000, 10), -100.0)
    logits[i, classes] = 0
    right = 9 if "9" in order else 10
    found = InceptionScore(10).update(logits).compute()
    exact = order in ("in turn", "sorted", "runs of 10", "sorted in 100s")
    assert found.mean == pytest.approx(right, abs=1e-3 if exact else 0.4)
    pieces = InceptionScore(10)
    for part in logits.split(37):
        pieces.update(part)
    assert pieces.compute() == pytest.approx(found)


def test_inception_score_refuses():
    with pytest.raises(ArgumentError, match="splits"):
        InceptionScore(0)
    with pytest.raises(ArgumentError, match="got 3"):
        InceptionScore(5).update(torch.zeros(3, 7)).compute()
    with pytest.raises(ArgumentError, match="7 classes so far"):
        InceptionScore(5).update(torch.zeros(3, 7)).update(torch.zeros(3, 8))
    with pytest.raises(ArgumentError, match="NaN"):
        InceptionScore().update(torch.full((3, 7), float("nan")))
    with pytest.raises(ArgumentError, match="5 splits into 2"):
        InceptionScore(2).merge(InceptionScore(5))
