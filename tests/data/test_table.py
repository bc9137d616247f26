"""Tables: any frame in, one matrix out, and the same frame again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from vaefast.data import Schema, Table
from vaefast.data.columns import column_of, decoded, encoded
from vaefast.errors import ArgumentError, DataError

COLUMNS = {"age": np.array([30, 41, 52, 28]), "visits": [0, 3, None, 1], "height": np.array([1.7, np.nan, 1.6, 1.8], np.float32),
           "city": ["Oslo", "Lom", None, "Oslo"], "member": np.array([True, False, True, True]),
           "flag": np.array([0, 1, 1, 0], np.uint8)}


def kinds(frame, **options) -> dict[str, str]:
    return {str(column.name): column.kind for column in Schema.of(frame, **options).columns}


def test_kinds_are_read_off_the_values():
    assert kinds(COLUMNS) == {"age": "number", "visits": "count", "height": "number", "city": "category", "member": "boolean",
                              "flag": "boolean"}
    assert kinds(COLUMNS, kinds={"age": "count", "flag": "category"}, columns=["flag", "age"]) == {"flag": "category",
                                                                                                    "age": "count"}
    assert kinds({"a": [0, 0, 0], "b": [1, 1, 1], "c": [0.5, 1.0, 0.0], "d": [-1, 0, 2], "e": np.array(["x", "y", "x"])}) == {
        "a": "number", "b": "number", "c": "number", "d": "number", "e": "category"}
    (whole, height) = Schema.of(COLUMNS, columns=["age", "height"]).columns
    assert whole.whole and not height.whole and whole.mean == 37.75
    assert height.std == pytest.approx(np.std(np.float32([1.7, 1.6, 1.8])), rel=1e-6)


def test_values_are_one_matrix_with_holes():
    table = Schema.of(COLUMNS).read(COLUMNS)
    assert table.values.dtype == torch.float64 and len(table) == 4 and table.schema.names == tuple(COLUMNS)
    wish = [[30, 0, np.float32(1.7), 1, 1, 0], [41, 3, math.nan, 0, 0, 1], [52, math.nan, np.float32(1.6), math.nan, 1, 1],
            [28, 1, np.float32(1.8), 1, 1, 0]]
    torch.testing.assert_close(table.values, torch.tensor(wish, dtype=torch.float64), equal_nan=True)
    assert int((~table.observed).sum()) == 3 and "3 entries missing" in repr(table)


@pytest.mark.parametrize("form", ["dict", "pandas", "rows"])
def test_a_frame_comes_back_as_it_was(form):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS)
    frame["Whole"] = pandas.array([1, None, 3, 4], dtype="Int64")
    frame["logical"] = pandas.array([True, None, False, True], dtype="boolean")
    frame["size"] = pandas.Categorical(["L", "S", None, "L"], categories=["S", "M", "L"], ordered=True)
    frame["code"] = pandas.Categorical([3, 1, 3, 2])
    frame.index = list("wxyz")
    given = {name: frame[name] for name in frame} if form == "dict" else frame
    table = Schema.of(given).read(given)
    assert kinds(given)["size"] == "category" and table.schema.columns[-2].words == ("S", "M", "L")
    if form == "rows":
        table, frame = table.subset(slice(1, 3)), frame.iloc[1:3]
    back = table.frame(like=frame)
    pandas.testing.assert_frame_equal(back, frame, check_dtype=False)
    same = [name for name in frame if name not in ("visits",)]
    assert {n: str(back[n].dtype) for n in same} == {n: str(frame[n].dtype) for n in same}


def test_matrices_and_dicts_come_back_as_such():
    matrix = np.array([[0.5, 2, 0], [1.5, 0, 1], [np.nan, 1, 1]], np.float32)
    for given in (matrix, torch.from_numpy(matrix)):
        schema = Schema.of(given)
        assert [(c.name, c.kind) for c in schema.columns] == [(0, "number"), (1, "count"), (2, "boolean")]
        back = schema.read(given).frame(like=given)
        assert type(back) is type(given) and back.dtype == given.dtype
        np.testing.assert_array_equal(np.asarray(back), matrix)
    structured = np.array([(1.5, "a"), (2.5, "b")], dtype=[("x", "f8"), ("w", "U1")])
    back = Schema.of(structured).read(structured).frame(like=structured)
    assert list(back["w"]) == ["a", "b"] and back["x"].dtype == np.float64
    words = np.array([["a", 1.5], ["b", None]], dtype=object)
    back = Schema.of(words).read(words).frame(like=words)
    assert back[0, 0] == "a" and back[0, 1] == 1.5 and math.isnan(back[1, 1])
    masked = np.ma.MaskedArray([1.0, 5.0, 2.5], mask=[False, True, False])
    assert Schema.of({"a": masked}).read({"a": masked}).observed[:, 0].tolist() == [True, False, True]


def test_a_description_is_json_and_reads_frames_again():
    schema = Schema.of(COLUMNS)
    again = Schema.from_description(json.loads(json.dumps(schema.describe())))
    assert again == schema
    shuffled = {name: COLUMNS[name] for name in reversed(COLUMNS)} | {"more": ["left", "alone", "?", "!"]}
    assert torch.equal(again.read(shuffled).values.nan_to_num(-1), schema.read(COLUMNS).values.nan_to_num(-1))
    assert again.read(COLUMNS).digest == schema.read(COLUMNS).digest
    other = {**COLUMNS, "age": np.array([30, 41, 52, 29])}
    assert schema.read(other).digest != schema.read(COLUMNS).digest


def test_numbers_are_standardised_and_nothing_else():
    schema = Schema.of({**COLUMNS, "same": [1e9 + 0.1] * 4})
    table = schema.read({**COLUMNS, "same": [1e9 + 0.1] * 4})
    scaled = schema.scaled(table.values)
    for name in ("age", "height"):
        column = scaled[:, schema.names.index(name)]
        column = column[~column.isnan()]
        assert abs(float(column.mean())) < 1e-6 and float(column.std(correction=0)) == pytest.approx(1)
    assert torch.equal(scaled[:, 1].nan_to_num(-1), table.values[:, 1].nan_to_num(-1))
    torch.testing.assert_close(schema.unscaled(scaled), table.values, equal_nan=True)
    assert schema.unscaled(torch.full((1, 7), 3.0).double())[0, -1] == 1e9 + 0.1  # always the same, whatever a model says


def test_draws_are_put_into_the_columns_dtype():
    schema = Schema.of({"small": np.array([3, 200], np.uint8), "half": np.array([0.5, 1], np.float16), "flag": [False, True]})
    back = schema.frame(torch.tensor([[-4.0, 0.3, 0.4], [300.0, 0.1, 0.6]]), like={})
    assert back["small"].tolist() == [0, 254] and back["half"].dtype == np.float16 and back["flag"].tolist() == [False, True]
    column = column_of("w", [1, 2, 2], "category")
    assert decoded(column, np.array([1.0, np.nan])).tolist() == [2, None]
    assert np.isnan(encoded(column, [None, np.nan])).all()


def test_frames_of_others_are_read_by_their_columns():
    class Frame:
        columns = ("a", "b")

        def __getitem__(self, name):
            return {"a": np.array([1.5, 2.5]), "b": np.array(["x", None], dtype=object)}[name]

    table = Schema.of(Frame()).read(Frame())
    assert table.schema.names == ("a", "b") and isinstance(table.frame(like=Frame()), dict)
    assert isinstance(Schema.of(table).read(table), Table)


@pytest.mark.parametrize(("frame", "error", "says"), [
    ({}, DataError, "the table has no columns"),
    (3, ArgumentError, "the table is of type int; expected a data frame"),
    (np.zeros(3), ArgumentError, r"array of shape \[3\]; expected \[N, C\]"),
    ({"a": []}, DataError, "no rows"),
    ({"a": [1, 2], "b": [1]}, DataError, "column 'a' has 2 rows and column 'b' 1"),
    ({"a": 5}, DataError, "column 'a' is of type int; expected a value for each row"),
    ({"a": [None, math.nan]}, DataError, "column 'a' has no values, all are missing; leave it out"),
    ({"a": [1.0, math.inf]}, DataError, "column 'a' has infinity in row 1"),
    ({"a": np.array([1.0, -math.inf])}, DataError, "column 'a' has infinity in row 1"),
    ({"a": ["x", 3]}, DataError, "column 'a' holds the word 'x' and 3 of type int"),
    ({"a": [object(), 3]}, DataError, "column 'a' holds .* of type object"),
    ({"a": np.zeros((2, 2))}, DataError, r"column 'a' has shape \[2, 2\]; expected one value a row"),
    ({"a": np.array(["2024-01-01"], "datetime64[D]")}, DataError, "column 'a' holds dates; make numbers"),
    ({"a": np.array([1j])}, DataError, "column 'a' holds complex numbers"),
    ({1: [1, 2], "1": [1, 2]}, DataError, "two columns called '1'")])
def test_what_is_no_table_is_refused_in_a_sentence(frame, error, says):
    with pytest.raises(error, match=says):
        Schema.of(frame)


@pytest.mark.parametrize(("frame", "says"), [
    ({k: v for k, v in COLUMNS.items() if k != "age"}, "the table has no column 'age'; expected age, visits"),
    ({**COLUMNS, "city": ["Oslo", "Bergen", "Lom", "Lom"]},
     "column 'city' has 'Bergen' in row 1, which is none of the 2 that are known of it"),
    ({**COLUMNS, "visits": [0, 1.5, 2, 3]}, "column 'visits' is to be of counts and has 1.5 in row 1"),
    ({**COLUMNS, "visits": [0, 1, -2, 3]}, "has -2 in row 2; expected whole numbers"),
    ({**COLUMNS, "flag": [0, 1, 2, 0]}, "column 'flag' is to be of booleans and has 2 in row 2"),
    ({**COLUMNS, "age": ["a", "b", "c", "d"]}, "column 'age' is to be of numbers and has 'a' in row 0"),
    (np.zeros((4, 5)), "the array has 5 columns; expected 6")])
def test_what_does_not_fit_the_columns_is_refused_in_a_sentence(frame, says):
    with pytest.raises(DataError, match=says):
        Schema.of(COLUMNS).read(frame)


def test_arguments():
    for options, says in (({"columns": ["age", "hair"]}, "columns names 'hair', which is no column of the table"),
                          ({"kinds": {"hair": "count"}}, "kinds names 'hair'"),
                          ({"kinds": {"age": "word"}}, "column 'age' is to be of kind 'word'; expected one of number")):
        with pytest.raises(ArgumentError, match=says):
            Schema.of(COLUMNS, **options)
    for described, says in (([{"name": "a", "kind": "word"}], "of kind 'word'"), ([{"colour": 1}], "a column is described by"),
                            ([{"name": "a", "kind": "category"}], "a category without words")):
        with pytest.raises(ArgumentError, match=says):
            Schema.from_description(described)
    all_missing = {**COLUMNS, "city": [None] * 4, "height": [math.nan] * 4}
    assert not Schema.of(COLUMNS).read(all_missing).observed[:, [2, 3]].any()  # of a row to fill in, nothing need be there
