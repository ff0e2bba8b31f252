import pytest
from hypothesis import given
from hypothesis import strategies as st

from sear.errors import InputError
from sear.settings.gather import find_model, own_files, recbole_models, rules_of
from sear.settings.rules import dump_yaml, load_yaml, make_rule, read_rules, read_settings

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words


@given(st.dictionaries(words, scalars | st.lists(scalars, max_size=3), max_size=4))
def test_yaml_text_reads_back_as_it_was(values):
    assert load_yaml(dump_yaml(values)) == values


@pytest.mark.parametrize(
    "text, value",
    [("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("-1.", -1.0), ("010", "010"), ("1:30", "1:30"), ("yes", "yes"),
     ("2020-01-01", "2020-01-01"), ("~", None), ("true", True), ("1_000", "1_000"), ("0x10", "0x10")],
)  # fmt: skip
def test_only_what_looks_like_a_number_is_one(text, value):
    assert load_yaml(text) == value and type(load_yaml(text)) is type(value)


@pytest.mark.parametrize(
    "text, line, why",
    [
        ("epochs: 3\nuser_inter_num_interval: [5,inf)\n", 2, "needs quotes"),
        ("epochs: 3\n\tseed: 1\n", 2, "not YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "a stands on line 1 too - remove one of them"),
        ("- epochs\n", 1, "no settings - write each one as  key: value"),
        ("just words\n", 1, "no settings"),
        ("x: !!python/object/apply:os.getcwd []\n", 1, "not YAML"),
        ("epochs: 3\n? [1, 2]\n: 4\n", 2, "not YAML"),
        ("a: 1\nx: !!binary aGk=\n", 2, "the tag !!binary is of no value that settings hold"),
        ("x: !!set {a, b}\n", 1, "the tag !!set"),
        ("x: !mine 3\n", 1, "the tag !mine"),
        (
            "a: &a [1, 2, 3]\n"
            + "".join(
                f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}]\n"
                for p, n in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            6,
            "aliases that unfold",
        ),
        ("x: &x [*x]\n", 1, "nested deeper than 50 times"),
        ("x: " + "[" * 100 + "]" * 100, 1, "nested deeper than 50 times"),
    ],
)
def test_bad_yaml_is_told_with_its_line(tmp_path, text, line, why):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(tmp_path / "bad.yaml")
    assert str(error.value).startswith(f"{tmp_path}/bad.yaml, line {line}: ")
    assert why in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, why",
    [("x: " + "[" * 2_000 + "]" * 2_000, "nested deeper than 50 times"), ("x: " + "9" * 5_000, "Exceeds the limit"),
     ("x: !!int abc", "invalid literal"), ("x: !!float abc", "could not convert")],
)  # fmt: skip
def test_values_that_python_itself_refuses_are_no_settings(tmp_path, text, why):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(InputError, match=f"odd.yaml: not YAML .{why}"):
        read_settings(tmp_path / "odd.yaml")


def test_aliases_and_merged_keys_are_settings(tmp_path):
    (tmp_path / "merged.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\nd: !!str 5\n")
    assert read_settings(tmp_path / "merged.yaml")[0] == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}, "d": "5"}


def test_unreadable_files_are_told(tmp_path):
    with pytest.raises(InputError, match="none.yaml is missing - check the name"):
        read_settings(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(InputError, match="latin.yaml: not UTF-8"):
        read_settings(tmp_path / "latin.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(InputError, match="huge.yaml is larger than 1 MiB: no file of settings"):
        read_settings(tmp_path / "huge.yaml")
    (tmp_path / "control.yaml").write_bytes(b"a: \x07")
    with pytest.raises(InputError, match="control.yaml: not YAML"):
        read_settings(tmp_path / "control.yaml")


def test_an_empty_file_holds_no_settings(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert read_settings(tmp_path / "empty.yaml") == ({}, {})


def test_every_key_of_our_yaml_files_is_explained_and_holds_what_it_may():
    for path in [*own_files("model").values(), *own_files("data").values()]:
        for key, rule in read_rules(path).items():
            if key not in ("dataset", "model"):
                assert rule.allowed != "anything" and rule.meaning, f"{path}: {key}"
                assert rule.accepts(rule.default), f"{path}: {key}"


def test_recboles_own_defaults_pass_their_rules():
    for model in recbole_models():
        assert all(rule.accepts(rule.default) for rule in rules_of(model, model).values())
        assert find_model(model) == model


@pytest.mark.parametrize(
    "allowed, good, bad",
    [
        ("int", [0, -1], [True, 1.0, "1", None]),
        ("float", [0, 1.5, -2], [True, "1.5", float("nan"), None]),
        ("float >= 0 and < 1", [0, 0.5], [1, -0.1]),
        ("bool", [True, False], [0, "True"]),
        ("str: a | b c", ["a", "b c"], ["c", "", 1]),
        ("list of int >= 1 or ~", [[1, 2], [], None], [[0], [1, "2"], 1]),
        ("list or int or None", [[1], 1, None], ["1", 1.5]),
        ("dict", [{}, {"a": 1}], [[], None]),
        ("string, optional", [1, None, "x"], []),
    ],
)
def test_a_comment_says_what_a_key_may_hold(allowed, good, bad):
    rule = make_rule("key", allowed, default=good[0])
    assert [rule.accepts(value) for value in good + bad] == [True] * len(good) + [False] * len(bad)


def test_a_rule_that_forbids_its_own_default_is_not_believed():
    assert make_rule("noise_scale", "int", default=0.001).allowed == "anything"
    assert make_rule("x", "int", default=None).accepts(None)


@pytest.mark.parametrize(
    "text, told",
    [
        ("a: 1\na: 2\n", "line 2: a stands on line 1 too"),
        ("a:\n  b: 1\n  c: 3\n  b: 2\n", "line 4: b stands on line 2 too"),
        ("a: [1, {b: 1, b: 2}]\n", "line 1: b stands twice on that line"),
        ("a: &a {b: 1}\nb:\n  <<: *a\n  <<: {c: 1}\n", "line 4: << stands on line 3 too"),
    ],
)
def test_a_key_that_stands_twice_in_a_mapping_is_refused(tmp_path, text, told):
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(tmp_path / "twice.yaml")
    assert str(error.value) == f"{tmp_path / 'twice.yaml'}, {told} - remove one of them"


def test_a_files_own_key_stands_over_a_merged_one(tmp_path):
    (tmp_path / "merged.yaml").write_text("sizes: &sizes {d_state: 8, k: 4}\n<<: *sizes\nk: 5\n")
    settings, lines = read_settings(tmp_path / "merged.yaml")
    assert settings == {"sizes": {"d_state": 8, "k": 4}, "d_state": 8, "k": 5}
    assert lines["k"] == 3 and "d_state" not in lines


def test_merged_keys_count_although_they_stand_on_no_line_of_their_own(tmp_path):
    (tmp_path / "merged.yaml").write_text("a: &sizes {d_state: 8}\n<<: *sizes\n")
    assert read_settings(tmp_path / "merged.yaml")[0] == {"a": {"d_state": 8}, "d_state": 8}
    assert read_rules(tmp_path / "merged.yaml")["d_state"].default == 8
