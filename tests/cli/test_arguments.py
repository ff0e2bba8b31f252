import pytest

from sear.cli.arguments import parse
from sear.cli.main import _checked_runs
from sear.errors import InputError


def message(*words):
    with pytest.raises(InputError) as error:
        parse(words)
    assert "\n" not in str(error.value)
    return str(error.value)


def value(word):
    (found,) = parse([word]).overrides.values()
    return found


def test_no_words_mean_sear_on_ml_100k():
    request = parse([])
    assert (request.datasets, request.models, request.seeds, request.overrides) == (["ml-100k"], ["SEAR"], [], {})


@pytest.mark.parametrize(
    "word, expected",
    [
        ("--learning_rate=1e-3", 0.001),
        ("--epochs=3", 3),
        ("--topk=[5, 10]", [5, 10]),
        ("--topk=5,10", [5, 10]),
        ("--topk=20", [20]),
        ("--metrics=Hit,NDCG", ["Hit", "NDCG"]),
        ("--streams=[semantic,rating]", ["semantic", "rating"]),
        ("--window_stride=~", None),
        ("--aggregation=False", False),
        ("--show_progress", True),
        ("--clip_grad_norm={max_norm: 5}", {"max_norm": 5}),
        ("--user_inter_num_interval=[5,inf)", "[5,inf)"),
        ("--user_inter_num_interval=~", None),
        ("--user_inter_num_interval='[5,inf)'", "[5,inf)"),
        ("--gpu_id=1", 1),
        ("--valid_metric=NDCG@10", "NDCG@10"),
        ("--item_sem_embedding_model_path=1", "1"),
        ("--item_sem_embedding_model_path=~", "~"),
        ("--item_sem_embedding_model_path=a=b; c: d # e", "a=b; c: d # e"),
        ("--item_sem_embedding_model_path='a=b, c'", "a=b, c"),
        ("--results_path=a,b", "a,b"),
        ("--mask_history=True,False", "True,False"),  # text, which its check refuses
        ("--results_path=__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("--epochs=__import__('os').getcwd()", "__import__('os').getcwd()"),  # text, which its check refuses
        ("--epochs=010", "010"),
        ("--topk=[5, 10", "[5, 10"),
        ("--epochs=" + "9" * 5_000, "9" * 5_000),  # text, which its check refuses
        ("--eval_args=" + "[" * 2_000, "[" * 2_000),
    ],
)
def test_values_are_yaml_and_texts_stay_texts(word, expected):
    found = value(word)
    assert found == expected and type(found) is type(expected)


def test_a_value_may_follow_its_key_after_a_blank():
    asked = parse(["--epochs", "3", "--show_progress", "False", "--model", "SASRec", "--debug", "--enable_amp"])
    assert asked.overrides == {"epochs": 3, "show_progress": False, "enable_amp": True}
    assert asked.models == ["SASRec"] and asked.debug


@pytest.mark.parametrize(
    "word, expected",
    [
        ("--learning_rate=0.001, 3e-3", [0.001, 0.003]),
        ("--window_stride=~,25", [None, 25]),
        ("--aggregation=True,False", [True, False]),
        ("--rating_encoding=linear,affine", ["linear", "affine"]),
        ("--valid_metric=MRR@10,NDCG@10", ["MRR@10", "NDCG@10"]),
        ("--user_inter_num_interval=[5,inf),[10,inf)", ["[5,inf)", "[10,inf)"]),
        ("--item_sem_embedding_model_path='a,b',c", ["a,b", "c"]),
    ],
)
def test_commas_between_values_of_a_key_that_holds_one_make_runs(word, expected):
    asked = parse([word])
    assert list(asked.varied.values()) == [expected] and asked.overrides == {}


def test_comma_lists_are_data_sets_models_and_seeds():
    asked = parse(["--dataset=ml-100k,ml-1m", "--model=SEAR, SASRec", "--seed=1,2,3"])
    assert (asked.datasets, asked.models, asked.seeds) == (["ml-100k", "ml-1m"], ["SEAR", "SASRec"], [1, 2, 3])


def test_an_extra_file_may_name_data_set_and_model_but_words_are_stronger(tmp_path):
    (tmp_path / "run.yaml").write_text("dataset: beauty\nmodel: SASRec\nmodel_name: SASRec\n")
    word = f"--config={tmp_path}/run.yaml"
    assert parse([word]).datasets == ["beauty"] and parse([word]).models == ["SASRec"]
    assert parse([word, "--dataset=ml-1m", "--model=SEAR"]).datasets == ["ml-1m"]
    assert parse([word, "--dataset=ml-1m", "--model=SEAR"]).models == ["SEAR"]


def test_lists_of_names_and_seeds_in_a_file_make_the_same_grid_as_on_the_command_line(tmp_path):
    (tmp_path / "grid.yaml").write_text("dataset: [beauty, ml-1m]\nmodel: [SEAR, SASRec]\nseed: [1, 2]\n")
    asked = parse([f"--config={tmp_path}/grid.yaml"])
    assert (asked.datasets, asked.models, asked.seeds) == (["beauty", "ml-1m"], ["SEAR", "SASRec"], [1, 2])
    assert len(_checked_runs(asked)) == 8
    (tmp_path / "one.yaml").write_text("dataset: ~\nmodel: SASRec\nseed: 3\n")
    asked = parse([f"--config={tmp_path}/grid.yaml,{tmp_path}/one.yaml", "--dataset=ml-100k"])
    assert (asked.datasets, asked.models) == (["ml-100k"], ["SASRec"])
    assert [planned.seed for planned in _checked_runs(asked)] == [3]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dataset: {a: 1}", r"dataset is {'a': 1}, no name and no list of such - write dataset: ONE or"),
        ("model: [SEAR, 3]", r"model is \['SEAR', 3\], no name and no list"),
        ("seed: []", r"seed is \[\], no whole number and no list"),
        ("seed: {a: 1}", "seed is {'a': 1}, no whole number"),
        ("seed: [1, 1]", r"seed is \[1, 1\] and names one entry twice"),
        ("seed: 1.5", "seed is 1.5, no whole number"),
    ],
)
def test_other_things_than_names_in_a_file_are_refused_with_their_place(tmp_path, text, why):
    (tmp_path / "odd.yaml").write_text(f"epochs: 1\n{text}\n")
    with pytest.raises(InputError, match=f"odd.yaml, line 2: {why}"):
        parse([f"--config={tmp_path}/odd.yaml"])


@pytest.mark.parametrize(
    "words, why",
    [
        (["epochs=3"], "'epochs=3' is no setting - write --key=value"),
        (["-epochs=3"], "'-epochs=3' is no setting"),
        (["--epochs", "3", "4"], "'4' is no setting - write --key=value or --key value"),
        (["--lr=1"], "unknown key lr (did you mean learning_rate?)"),
        (["--batch-size=1"], "unknown key batch-size (did you mean train_batch_size?)"),
        (["--epochs"], "--epochs has no value - write --epochs=VALUE"),
        (["--epochs="], "--epochs has no value"),
        (["--"], "'--' is no setting"),
        (["--=3"], "'--=3' is no setting"),
        (["--epochs=1", "--epochs=1"], "--epochs stands twice - remove one of them"),
        (["--epoch=1"], "unknown key epoch (did you mean epochs?) - --help lists the keys"),
        (["--learning-rate=1"], "unknown key learning-rate (did you mean learning_rate?)"),
        (["--evaluat=x"], "unknown key evaluat (did you mean evaluate?)"),
        (["--debug=1"], "--debug takes no value"),
        (["--epochs=1,,2"], "--epochs=1,,2 has an empty value - write --epochs=VALUE,VALUE"),
        (["--learning_rate=0.001,1e-3"], "--learning_rate=0.001,1e-3 names one value twice"),
        (["--seed=1,x"], "seed is 'x', not int >= 0 and < 4294967296 - for example --seed=2020"),
        (["--seed=-1"], "seed is '-1', not int >= 0"),
        (["--seed=" + "9" * 5000], "seed is '999"),
        (["--learning_rate={a: 1},{b: 2}"], "--learning_rate={a: 1},{b: 2} is a list of lists or mappings"),
        (["--window_stride=[1],[2]"], "--window_stride=[1],[2] is a list of lists or mappings"),
        (["--seed=1,1"], "--seed=1,1 names one entry twice"),
        (["--seed=1,01"], "--seed=1,01 names one seed twice"),
        (["--dataset="], "--dataset has no value"),
        (["--dataset"], "--dataset has no value"),
        (["--dataset=ml-100k,"], "--dataset has no value, or an empty one"),
        (["--ablate=ratings"], "unknown part ratings (did you mean rating?) - choose from semantic, collaborative, "),
        (["--ablate=rating,rating"], "--ablate=rating,rating names one entry twice"),
        (["--model=Pop", "--ablate=rating"], "--ablate takes parts out of SEAR - add SEAR to --model"),
        (["--model=NARM", "--d_state=8"], "unknown key d_state"),
        (["--resume=nowhere"], "resume is 'nowhere', no run folder - name one: results/DATASET/MODEL/RUN_ID"),
        (["--resume"], "resume is None, no run folder"),
        (["--config=odd\udcff.yaml"], "'--config=odd\\udcff.yaml' is no text in UTF-8 - rename the file or folder"),
    ],
)
def test_words_that_cannot_be_understood_are_told(words, why):
    found = message(*words)
    assert found.startswith(f"command line: {why}")


def test_unknown_data_sets_and_models_are_told():
    assert message("--dataset=ml-100k,ml1m").startswith("unknown data set ml1m (did you mean ml-1m?)")
    assert message("--model=SEAR,SASrec").startswith("unknown model SASrec (did you mean SASRec?)")


def test_a_run_is_taken_as_it_is(tmp_path):
    assert parse([f"--resume={tmp_path}"]).resume == tmp_path
    assert parse([f"--evaluate={tmp_path}", "--debug"]).evaluate == tmp_path
    told = "--resume takes a run as it is, with --threads, --use_gpu, --gpu_id, --device, --show_progress"
    assert message(f"--resume={tmp_path}", "--epochs=3").endswith(f"{told} - remove --epochs")
    assert parse([f"--resume={tmp_path}", "--threads=2"]).overrides == {"threads": 2}
    asked = parse([f"--evaluate={tmp_path}", "--topk=5,10", "--mask_history"]).overrides
    assert asked == {"topk": [5, 10], "mask_history": True}
    assert message(f"--resume={tmp_path}", f"--evaluate={tmp_path}").endswith("remove --evaluate")
