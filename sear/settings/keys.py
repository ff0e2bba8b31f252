"""What is known of single keys, each told once: its role, and what it may hold where RecBole's own comment says less.

A key that is not here decides a run's result and is described by its YAML comment alone.
"""

from dataclasses import dataclass
from enum import Flag, auto


class Role(Flag):
    """What a key is for; one may have several roles."""

    RESULT = 0  # decides a run's result, as every key that has no other role does
    NAME = auto()  # part of the run's name
    DATA = auto()  # where the data lie; what they are is told by their hash
    ADDS_METRICS = auto()  # adds metrics to a run and changes none
    SEAR = auto()  # in SEAR.yaml for SEAR alone; other models may be given it, without effect
    LOSS = auto()  # also for any other model that learns by SEAR's loss
    AFTER = auto()  # decides what is mixed into the scores after training, and nothing of the training
    MEASURE = auto()  # decides which events there are or how they are ranked: it is not to be searched for
    PLACE = auto()  # where a run works and what it shows: two runs that differ only here are the same run
    DERIVED = auto()  # RecBole's Config works it out anew, for the machine it runs on
    # RecBole's, without use: a SEARDataset reads the atomic files itself, as they are, and cuts batches
    UNUSED = auto()
    FOLDER = auto()  # holds the name of one, which may begin with ~


@dataclass(frozen=True)
class Key:
    """`allowed`: what the key may hold, in the words of sear.settings.rules; "" where its YAML comment says it."""

    role: Role
    allowed: str = ""


KEYS = {
    "dataset": Key(Role.NAME),
    "model": Key(Role.NAME),
    "model_name": Key(Role.NAME),
    "seed": Key(Role.NAME),
    "ablate": Key(Role.NAME | Role.SEAR),
    "data_path": Key(Role.DATA | Role.FOLDER),
    "mask_history": Key(Role.ADDS_METRICS),
    "hidden_size": Key(Role.SEAR),
    "num_layers": Key(Role.SEAR),
    "num_heads": Key(Role.SEAR),
    "dropout_prob": Key(Role.SEAR),
    "d_state": Key(Role.SEAR),
    "d_conv": Key(Role.SEAR),
    "expand": Key(Role.SEAR),
    "streams": Key(Role.SEAR),
    "aggregation": Key(Role.SEAR),
    "text_init": Key(Role.SEAR),
    "mamba_kernel": Key(Role.SEAR),
    "initializer_range": Key(Role.SEAR),
    "keep_dt_init": Key(Role.SEAR),
    "rating_encoding": Key(Role.SEAR),
    "loss_type": Key(Role.SEAR | Role.LOSS),
    "sample_from": Key(Role.SEAR | Role.LOSS),
    "sample_size": Key(Role.SEAR | Role.LOSS),
    "soft_label_length": Key(Role.SEAR | Role.LOSS),
    "soft_label_decay": Key(Role.SEAR | Role.LOSS),
    "trim_padding": Key(Role.SEAR | Role.LOSS),
    "item_table": Key(Role.SEAR),
    "warm_start": Key(Role.SEAR | Role.FOLDER),
    "text_whitening": Key(Role.SEAR),
    "text_match": Key(Role.AFTER),
    "text_match_width": Key(Role.AFTER),
    "text_match_half_life": Key(Role.AFTER),
    "transition_prior": Key(Role.AFTER),
    "transition_floor": Key(Role.AFTER),
    "transition_steps": Key(Role.AFTER),
    "transition_popularity": Key(Role.AFTER),
    "transition_half_life": Key(Role.AFTER),
    "cosine_scale": Key(Role.SEAR | Role.LOSS),
    "repeat_bias": Key(Role.SEAR | Role.LOSS),
    "repeat_bias_lr": Key(Role.SEAR | Role.LOSS),
    "train_neg_sample_args": Key(Role.SEAR | Role.LOSS, "dict or ~"),
    "checkpoint_dir": Key(Role.PLACE),
    "dataloaders_save_path": Key(Role.PLACE | Role.UNUSED),
    "debug": Key(Role.PLACE),
    "device": Key(Role.PLACE | Role.DERIVED),
    "gpu_id": Key(Role.PLACE, "str or int"),
    "ip": Key(Role.PLACE),
    "local_rank": Key(Role.PLACE | Role.DERIVED),
    "log_tensorboard": Key(Role.PLACE),
    "log_wandb": Key(Role.PLACE),
    "nproc": Key(Role.PLACE),
    "offset": Key(Role.PLACE),
    "port": Key(Role.PLACE),
    "results_path": Key(Role.PLACE | Role.FOLDER),
    "resume": Key(Role.PLACE),
    "run_id": Key(Role.PLACE),
    "save_dataloaders": Key(Role.PLACE | Role.UNUSED),
    "save_dataset": Key(Role.PLACE | Role.UNUSED),
    "show_progress": Key(Role.PLACE),
    "shutdown_logger": Key(Role.PLACE),
    "single_spec": Key(Role.PLACE | Role.DERIVED),
    "state": Key(Role.PLACE, "str: DEBUG | INFO | WARNING | ERROR | CRITICAL"),
    "threads": Key(Role.PLACE),
    "use_gpu": Key(Role.PLACE),
    "wandb_project": Key(Role.PLACE),
    "worker": Key(Role.PLACE | Role.UNUSED),
    "world_size": Key(Role.PLACE),
    "MODEL_TYPE": Key(Role.DERIVED),
    "MODEL_INPUT_TYPE": Key(Role.DERIVED),
    "eval_type": Key(Role.DERIVED),
    "valid_metric_bigger": Key(Role.DERIVED | Role.UNUSED),
    "valid_neg_sample_args": Key(Role.DERIVED),
    "test_neg_sample_args": Key(Role.DERIVED),
    "field_separator": Key(Role.UNUSED),
    "seq_separator": Key(Role.UNUSED),
    "seq_len": Key(Role.UNUSED),
    "threshold": Key(Role.UNUSED),
    "unload_col": Key(Role.UNUSED),
    "unused_col": Key(Role.UNUSED),
    "additional_feat_suffix": Key(Role.UNUSED, "list or str or ~"),
    "preload_weight": Key(Role.UNUSED),
    "filter_inter_by_user_or_item": Key(Role.UNUSED),
    "alias_of_user_id": Key(Role.UNUSED),
    "alias_of_item_id": Key(Role.UNUSED),
    "alias_of_entity_id": Key(Role.UNUSED),
    "alias_of_relation_id": Key(Role.UNUSED),
    "normalize_field": Key(Role.UNUSED),
    "normalize_all": Key(Role.UNUSED, "bool or ~"),
    "discretization": Key(Role.UNUSED),
    "kg_reverse_r": Key(Role.UNUSED),
    "entity_kg_num_interval": Key(Role.UNUSED, "str or ~"),
    "relation_kg_num_interval": Key(Role.UNUSED, "str or ~"),
    "benchmark_filename": Key(Role.UNUSED),
    "dataset_save_path": Key(Role.UNUSED),
    "shuffle": Key(Role.UNUSED),
    "metric_decimal_place": Key(Role.UNUSED),
    "user_inter_num_interval": Key(Role.MEASURE, "str or ~"),
    "item_inter_num_interval": Key(Role.MEASURE, "str or ~"),
    "load_col": Key(Role.MEASURE, "dict or ~"),
    "USER_ID_FIELD": Key(Role.MEASURE),
    "ITEM_ID_FIELD": Key(Role.MEASURE),
    "RATING_FIELD": Key(Role.MEASURE),
    "TIME_FIELD": Key(Role.MEASURE),
    "LABEL_FIELD": Key(Role.MEASURE),
    "ENTITY_ID_FIELD": Key(Role.MEASURE),
    "HEAD_ENTITY_ID_FIELD": Key(Role.MEASURE),
    "TAIL_ENTITY_ID_FIELD": Key(Role.MEASURE),
    "RELATION_ID_FIELD": Key(Role.MEASURE),
    "ITEM_LIST_LENGTH_FIELD": Key(Role.MEASURE),
    "POSITION_FIELD": Key(Role.MEASURE),
    "LIST_SUFFIX": Key(Role.MEASURE),
    "NEG_PREFIX": Key(Role.MEASURE),
    "eval_args": Key(Role.MEASURE),
    "eval_batch_size": Key(Role.MEASURE),
    "eval_step": Key(Role.MEASURE),
    "metrics": Key(Role.MEASURE),
    "topk": Key(Role.MEASURE),
    "valid_metric": Key(Role.MEASURE),
    "valid_protocol": Key(Role.MEASURE),
    "valid_smoothing": Key(Role.MEASURE),
    "history_length_groups": Key(Role.MEASURE),
    "item_popularity_groups": Key(Role.MEASURE),
    "days_since_last_groups": Key(Role.MEASURE),
    "loss_decimal_place": Key(Role.MEASURE),
    "val_interval": Key(Role.MEASURE),
    "rm_dup_inter": Key(Role.MEASURE),
    "reproducibility": Key(Role.MEASURE),
}


def with_role(role: Role) -> frozenset[str]:
    """The keys that have one of these roles."""
    return frozenset(name for name, key in KEYS.items() if key.role & role)


# how a test measures: these may be others when a finished run is tested again
MEASURED = (
    "mask_history", "topk", "metrics", "history_length_groups", "item_popularity_groups", "days_since_last_groups"
)  # fmt: skip
