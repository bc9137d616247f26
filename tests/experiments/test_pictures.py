import numpy as np
import pytest
import torch

from vaefast.errors import ArgumentError, RunFolderError
from vaefast.experiments.papers.pictures import training_curves
from vaefast.experiments.pictures import nearest
from vaefast.experiments.pictures.beside_real import save_beside_real
from vaefast.experiments.pictures.curves import draw_curves
from vaefast.experiments.pictures.grids import image_grid, reconstruction_grid, save_png, side_by_side
from vaefast.training import RunFolder

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_every_image(channels):
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, channels, 5, 4) * 40
    grid = image_grid(images, rows=2, cols=3, pad=1, scale=2)
    assert grid.dtype == np.uint8 and grid.shape == (2 * 11 + 1, 3 * 9 + 1, channels)
    for i in range(6):
        top, left = 1 + (i // 3) * 11, 1 + (i % 3) * 9
        assert (grid[top : top + 10, left : left + 8] == i * 40).all()


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert image_grid(torch.zeros(1, 1, 8, 8), 1, 1, pad=0).shape == (48, 48, 1)
    assert image_grid(torch.zeros(1, 3, 64, 64), 1, 1, pad=0).shape == (64, 64, 3)


def test_floats_are_rounded_and_clipped():
    images = torch.tensor([-1.0, 0.5, 2.0]).view(1, 1, 1, 3)
    assert image_grid(images, 1, 1, pad=0, scale=1)[..., 0].tolist() == [[0, 128, 255]]
    assert image_grid(images.bfloat16(), 1, 1, pad=0, scale=1)[0, 2, 0] == 255
    assert image_grid(images.numpy(), 1, 1, pad=0, scale=1)[0, 2, 0] == 255


def test_too_few_images_leave_the_rest_empty_and_too_many_are_left_out():
    assert image_grid(torch.zeros(3, 1, 4, 4), 2, 2, pad=1, scale=1)[6:10, 6:10].tolist() == [[[128]] * 4] * 4
    assert image_grid(torch.zeros(9, 1, 4, 4), 2, 2, pad=0, scale=1).shape == (8, 8, 1)
    assert image_grid(torch.zeros(7, 1, 4, 4), pad=0, scale=1).shape == (12, 12, 1)


def test_reconstructions_stand_right_of_their_originals():
    originals, other = torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    grid = reconstruction_grid(originals, other, cols=2, pad=1, scale=1)[..., 0]
    assert grid.shape == (2 * 7 + 3, 2 * 12 + 3)
    assert (grid[3:7, 3:7] == 0).all() and (grid[3:7, 8:12] == 255).all()
    with_legend = reconstruction_grid(originals, other, cols=2, pad=1, scale=1, legend=True)
    assert with_legend.shape[0] == grid.shape[0] + 24
    with pytest.raises(ArgumentError, match="differ"):
        reconstruction_grid(originals, other[:2])


def test_a_long_title_is_not_cut_off():
    picture = np.zeros((20, 300, 3), np.uint8)
    short, long = (side_by_side([picture], [title])[:-20] for title in ("a title", "|" * 40 + "a title longer than its picture"))
    assert short.shape == long.shape  # titles in a row have one height
    assert (long[:, -4:] == 255).all() and (long[:, -40:-4] < 255).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_real_images_stand_in_front_of_the_drawn(channels, tmp_path):
    images = torch.randint(256, (7, channels, 20, 16), dtype=torch.uint8)
    drawn = {name: np.full((*image_grid(images, 2, 3).shape[:2], 3), 9, np.uint8) for name in "ab"}
    save_beside_real(tmp_path / "x.png", drawn, images, (2, 3), cols=2)
    real = image_grid(images[[0, 1, 2, 3, 4, 6]], 2, 3)  # spread over all of them
    high, wide = real.shape[:2]
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    top = (picture.shape[0] - 24) // 2 - high  # the title's strip
    assert picture.shape[1] == 2 * wide + 24
    assert (picture[top : top + high, :wide] == real).all() and (picture[top : top + high, wide + 24 :] == 9).all()


def test_bad_images_are_refused():
    with pytest.raises(ArgumentError, match="1 or 3"):
        image_grid(torch.zeros(2, 2, 4, 4), 1, 1)
    with pytest.raises(ArgumentError, match="NaN"):
        image_grid(torch.full((1, 1, 4, 4), float("nan")), 1, 1)
    with pytest.raises(ArgumentError, match="uint8"):
        image_grid(torch.zeros(1, 1, 4, 4, dtype=torch.int64), 1, 1)
    with pytest.raises(ArgumentError, match="rows"):
        image_grid(torch.zeros(1, 1, 4, 4), 0, 1)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 7, 3)])
def test_png_gives_back_the_pixels(shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = save_png(tmp_path / "new" / "a.png", array)
    assert (np.asarray(Image.open(path)).reshape(shape) == array).all()
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_png_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(ArgumentError, match="uint8"):
        save_png(tmp_path / "a.png", np.zeros((3, 3)))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write"):
        save_png(tmp_path / "file" / "a.png", np.zeros((3, 3), np.uint8))


def test_curves(tmp_path):
    pytest.importorskip("matplotlib")
    records = [
        {"stage": stage, "step": i, "epoch": i / 10, "lr": 1e-3, "loss": 10.0 / (i + 1), "gamma": 0.9**i, "note": "x"}
        for stage in ("stage1", "stage2")
        for i in range(30)
    ]
    records[3]["loss"] = float("nan")
    del records[4]["gamma"]
    records[-1]["latent_spread"] = 0.5  # a name nobody has heard of, once
    path = draw_curves(records, tmp_path / "curves.png")
    width, height = Image.open(path).size
    assert width > height > 400
    draw_curves([{"step": 1, "critic": 0.0}], path)
    with pytest.raises(ArgumentError, match="nothing to draw"):
        draw_curves([{"stage": "stage1", "step": 1}], path)


def test_curves_of_several_trainings_as_far_as_each_came(tmp_path):
    runs = {name: tmp_path / name for name in ("ns", "began", "not begun")}
    for name, offset in (("ns", 0.0), ("began", 5.0)):
        run = RunFolder.create(runs[name], {})
        for step in (10, 20, 30):
            run.append_metrics({"stage": "stage1", "step": step, "epoch": step / 10, "generator/diversity": 0.9,
                                **({"fd_classifier": 90 / step + offset} if step != 20 else {})})
    training_curves(tmp_path / "curves", runs, "step")
    drawn = (tmp_path / "curves.svg").read_text()
    assert all(word in drawn for word in (">ns<", ">began<", ">step<", "FD-classifier of samples")) and "not begun" not in drawn
    assert (tmp_path / "curves.png").is_file()
    training_curves(tmp_path / "nothing", {"not begun": runs["not begun"]})
    assert not (tmp_path / "nothing.png").exists()


@pytest.mark.parametrize("rows", [3, 4_000])
def test_the_nearest_images_are_found_part_by_part(rows, monkeypatch):
    monkeypatch.setattr(nearest, "ROWS", rows)
    images = torch.randint(0, 256, (10, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    samples = images[[7, 2]].float() / 255
    expected = torch.cdist(samples.flatten(1), images.flatten(1) / 255).argsort(1)
    assert torch.equal(nearest.nearest(samples, images), expected[:, :3]) and expected[:, 0].tolist() == [7, 2]
    assert nearest.nearest(samples, images[:2]).shape == (2, 2)
    grid = nearest.nearest_grid(samples, images)
    assert grid.dtype == np.uint8 and grid.shape[2] == 3
