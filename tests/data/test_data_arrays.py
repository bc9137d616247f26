import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from vaefast.data import ImageSet, as_image_set, load
from vaefast.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)


def u8(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_tensors_and_arrays():
    x = torch.from_numpy(u8(5, 3, 8, 6))
    s = as_image_set(x, labels=[0, 1, 2, 3, 4], name="mine")
    assert s.images.data_ptr() == x.data_ptr() and s.labels.tolist() == [0, 1, 2, 3, 4] and s.name == "mine"
    assert as_image_set(s) is s
    assert as_image_set(s, labels=np.ones((5, 1), np.uint16)).labels.tolist() == [1] * 5
    assert as_image_set(x[:, 0]).image_shape == (1, 8, 6)
    a = u8(5, 8, 6, 3)
    assert np.array_equal(as_image_set(a).images.numpy(), a.transpose(0, 3, 1, 2))
    assert as_image_set(u8(5, 8, 6)).image_shape == (1, 8, 6)
    assert as_image_set(u8(5, 4, 8, 6)).image_shape == (4, 8, 6)
    assert as_image_set(u8(5, 3, 2, 3), layout="NHWC").image_shape == (3, 3, 2)
    assert as_image_set(u8(5, 8, 6)[::-1]).image_shape == (1, 8, 6)
    frozen = u8(5, 8, 6)
    frozen.setflags(write=False)
    assert as_image_set(frozen).image_shape == (1, 8, 6)
    assert as_image_set(np.array([[[True, False]]])).images.tolist() == [[[[255, 0]]]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_stay_floats(dtype):
    a = RNG.random((3, 4, 4)).astype(dtype)
    s = as_image_set(a)
    assert s.images.dtype == torch.float32 and np.allclose(s.images[:, 0].numpy(), a.astype(np.float32))
    edge = torch.tensor([[[[-5e-7, 1 + 5e-7]]]])
    assert as_image_set(edge).images.flatten().tolist() == [0.0, 1.0]
    assert as_image_set(torch.rand(2, 1, 3, 3).bfloat16()).images.dtype == torch.float32


def spoiled(value, dtype=np.float32):
    a = np.full((4, 1, 5, 5), 0.5, dtype)
    a[2, 0, 3, 1] = value
    return a


@pytest.mark.parametrize("given, message", [
    (spoiled(np.nan), "image 2 holds nan at channel 0, row 3, column 1; every value must be finite"),
    (spoiled(np.inf), "image 2 holds inf"),
    (spoiled(-0.25), r"image 2 holds -0.25 .* must lie in \[0, 1\]"),
    (spoiled(200.0), "divide by 255"),
    (torch.from_numpy(spoiled(1.1)), "image 2 holds 1.1"),
    (np.zeros((2, 4, 4), np.int64), "dtype int64"),
    (torch.zeros(2, 1, 4, 4, dtype=torch.int32), "dtype int32"),
    (np.zeros((2, 4, 4), complex), "dtype complex128"),
    (np.zeros((4, 4), np.uint8), r"shape \[4, 4\]"),
    (np.zeros((0, 4, 4), np.uint8), "nothing in them"),
    (np.zeros((2, 1, 0, 4), np.uint8), "nothing in them|channels"),
    (np.zeros((2, 3, 5, 3), np.uint8), "could be.*pass layout="),
    (np.zeros((2, 7, 5, 9), np.uint8), "no axis of 1, 3 or 4"),
    (torch.zeros(2, 28, 28, 1), "looks like"),
    ([], "empty"),
    ([np.zeros((4, 4), np.uint8), np.zeros((5, 4), np.uint8)], "item 0 .* but item 1 is"),
    ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32)], "same dtype"),
    ([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 2.0)], "image 1 holds 2"),
    (["a.png"], "item 0 is a str"),
    (torch.rand(2, 1, 4, 4).to_sparse(), "kind sparse_coo"),
    (torch.empty(2, 1, 4, 4, device="meta"), "kind meta"),
    (torch.nested.nested_tensor([torch.rand(1, 4, 4), torch.rand(1, 4, 4)], layout=torch.jagged), "kind nested"),
    (torch.rand(2, 1, 4, 4).to(torch.float8_e5m2), "float8"),
    (np.ma.masked_less(np.eye(4)[None], 0.5), "masked"),
    ([torch.rand(1, 4, 4), torch.rand(1, 4, 4).to_sparse()], "item 1 is a tensor of kind sparse_coo"),
    ([np.ma.masked_less(np.eye(4), 0.5)], "item 0 is a masked"),
    ([{"text": 1}], "keys"),
])
def test_refuses(given, message):
    with pytest.raises(DataError, match=message):
        as_image_set(given)


@pytest.mark.parametrize("given", [7, "images.npz", {"x": 1}, iter([])])
def test_refuses_types(given):
    with pytest.raises(ArgumentError):
        as_image_set(given)


@pytest.mark.parametrize("labels, message", [
    ([1, 2], r"\[2\]; \[3\] was expected"), ([0.5, 1, 2], "integers"), ([0, -1, 2], "label 1 is -1"),
    (np.eye(3, dtype=int), "one label an image"), (["a", "b", "c"], "integers"), ([True, False, True], "integers"),
])
def test_refuses_labels(labels, message):
    with pytest.raises(DataError, match=message):
        as_image_set(np.zeros((3, 4, 4), np.uint8), labels=labels)


def test_datasets():
    a = u8(4, 6, 5, 3)
    pil = [(Image.fromarray(x), i) for i, x in enumerate(a)]
    s = as_image_set(pil)
    assert np.array_equal(s.images.numpy(), a.transpose(0, 3, 1, 2)) and s.labels.tolist() == [0, 1, 2, 3]
    assert as_image_set([{"image": p, "label": i} for p, i in pil]).digest == s.digest
    assert as_image_set(TensorDataset(s.images, s.labels)).digest == s.digest
    assert as_image_set(torch.utils.data.Subset(s, range(4))).digest == s.digest
    assert as_image_set([x for x in a]).labels is None
    assert as_image_set(TensorDataset(torch.rand(3, 1, 4, 4))).images.dtype == torch.float32
    assert as_image_set([Image.fromarray(a[0, :, :, 0])]).image_shape == (1, 6, 5)
    assert as_image_set([(s.images[0], "a caption")]).labels is None
    assert as_image_set(pil, labels=[9, 9, 9, 9]).labels.tolist() == [9] * 4


def test_npz(tmp_path):
    x, y = u8(50, 6, 5, 3), np.arange(50) % 4
    path = tmp_path / "set.npz"
    np.savez(path, images=x, labels=y)
    whole = load("npz", path, "all")
    assert isinstance(whole, ImageSet) and whole.image_shape == (3, 6, 5) and whole.labels.tolist() == y.tolist()
    train, test = load("npz", tmp_path, "train"), load("npz", path, "test", size=(6, 5))
    assert len(train) + len(test) == 50 and 0 < len(test) < 15
    np.savez(path, train_images=x, train_labels=y[:, None], test_images=x[:7], test_labels=y[:7])
    assert len(load("npz", path)) == 50 and load("npz", path, "test").labels.tolist() == y[:7].tolist()
    assert len(load("npz", path, "all")) == 57
    np.savez(path, names=np.arange(3), pictures=x)
    assert load("npz", path, "all").labels is None
    np.save(tmp_path / "single.npy", x[..., 0])
    assert load("npz", tmp_path / "single.npy", "all").image_shape == (1, 6, 5)
    with pytest.raises(DataError, match="holds 2 .npz and .npy files"):
        load("npz", tmp_path)
    with pytest.raises(ArgumentError, match="taken as they are"):
        load("npz", path, size=32)


@pytest.mark.parametrize("arrays, split, words", [
    ({"x_train": 4, "y_train": None, "x_test": 2}, "all", "x_test in set.npz has none"),
    ({"arr_0": 4, "arr_1": None}, "all", "arr_1 in set.npz could be such"), ({"images": 40, "classes": None}, "train", "classes"),
])
def test_labels_of_an_npz_are_not_dropped_without_a_word(tmp_path, arrays, split, words):
    path, count = tmp_path / "set.npz", next(iter(arrays.values()))
    np.savez(path, **{name: np.arange(count) if n is None else u8(n, 4, 5) for name, n in arrays.items()})
    with pytest.warns(UserWarning, match=f"There are no labels.*{words}"):
        found = load("npz", path, split)
    assert found.labels is None and words in found.note


def test_bad_npz(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="does not exist"):
        load("npz", path)
    np.savez(path, images=np.array([{}, []], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        load("npz", path)
    np.savez(path, images=u8(3, 100, 100))
    content = path.read_bytes()
    for bad in (content[:1000], b"", b"text", content[:500] + b"\0\1\2\3" + content[504:]):
        path.write_bytes(bad)
        with pytest.raises(DataError):
            load("npz", path)
    np.savez(path, lengths=np.arange(3))
    with pytest.raises(DataError, match="no array of images"):
        load("npz", path)
    np.savez(path, x=spoiled(np.nan))
    with pytest.raises(DataError, match="a.npz: image 2 holds nan"):
        load("npz", path)
