"""The cluster's scripts, which no test can run: what they start is understood, and what they name is there."""

import re
import shlex
import subprocess

import pytest
import yaml
from torch.distributed.run import get_args_parser as torchrun_parser

from sear.cli.arguments import parse
from sear.cli.serve import parser as serve_parser
from sear.cli.tune import parser as search_parser
from sear.serve.server import SHORTEST_TOKEN, TOKEN
from tests.helpers.doc_pages import ROOT, page_text

CLUSTER = ROOT / "examples" / "cluster"
# https://slurm.schedmd.com/sbatch.html
SBATCH = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "output"}
TOLD = {"SLURM_JOB_NODELIST", "SLURM_CPUS_PER_TASK", "SLURM_JOB_NUM_NODES", "SLURM_JOB_ID", "OMP_NUM_THREADS", "first"}


def test_the_slurm_script_starts_a_torchrun_for_each_node():
    path = CLUSTER / "train.slurm"
    text = page_text(path)
    assert not subprocess.run(["bash", "-n", str(path)]).returncode
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.M))
    assert set(asked) == SBATCH and text.count("#SBATCH") == len(asked)
    assert set(re.findall(r"\$\{?(\w+)", re.sub(r"(?m)^#.*$", "", text))) <= TOLD
    (command,) = re.findall(r"^srun (.*)$", text.replace("\\\n", " "), re.M)
    words = shlex.split(command.replace("$SLURM_JOB_NUM_NODES", asked["nodes"]).replace('"$@"', "--dataset=ml-1m"))
    # srun takes no --cpus-per-task from sbatch any more: https://slurm.schedmd.com/srun.html
    assert words[:3] == ["--kill-on-bad-exit=1", "--cpus-per-task=$SLURM_CPUS_PER_TASK", ".venv/bin/torchrun"]
    started = torchrun_parser().parse_args(words[3:])
    assert "--resume=RUN_FOLDER" in text  # else a second job trains anew what the first one has begun
    assert (started.nnodes, started.nproc_per_node) == (asked["nodes"], asked["gpus-per-node"])
    assert asked["ntasks-per-node"] == "1" and started.rdzv_backend == "c10d" and started.max_restarts == 3
    assert (ROOT / started.training_script).is_file() and parse(started.training_script_args).datasets == ["ml-1m"]


@pytest.fixture
def compose():
    return yaml.safe_load(page_text(CLUSTER / "compose.yaml"))


def test_the_workers_of_the_compose_file_join_one_study_in_its_database(compose):
    worker, database = compose["services"]["worker"], compose["services"]["database"]
    assert worker["entrypoint"] == ["python", "-m", "sear"] and worker["command"][0] == "tune"
    asked, others = search_parser("sear tune").parse_known_args(worker["command"][1:])
    assert parse([f"--model={asked.model}", f"--dataset={asked.dataset}", *others]).models == ["SASRec"]
    user, host, name = re.fullmatch(r"postgresql\+psycopg://(\w+)@(\w+)/(\w+)", asked.storage).groups()
    settings = database["environment"]
    assert (user, name) == (settings["POSTGRES_USER"], settings["POSTGRES_DB"]) and host in compose["services"]
    assert settings["POSTGRES_PASSWORD"] == worker["environment"]["PGPASSWORD"] == "${POSTGRES_PASSWORD:?choose one}"
    assert worker["depends_on"] == {"database": {"condition": "service_healthy"}} and "healthcheck" in database
    assert worker["deploy"]["replicas"] > 1 and re.fullmatch(r"on-failure:\d", worker["restart"])


def test_the_service_of_the_compose_file_asks_for_a_token(compose):
    service = compose["services"]["service"]
    asked = serve_parser().parse_args(service["command"][1:])
    assert service["command"][0] == "serve" and asked.host == "0.0.0.0"
    assert f"{SHORTEST_TOKEN} characters" in service["environment"][TOKEN]
    assert service["ports"] == [f"127.0.0.1:{asked.port}:{asked.port}"]


def test_the_image_of_the_compose_file_has_what_its_commands_need(compose):
    made = compose["services"]["worker"]["build"]["dockerfile_inline"]
    extras = page_text(ROOT / "pyproject.toml")
    for name in ("tune", "serve"):
        (needed,) = re.findall(rf"^{name} = \[(.*?)\]", extras, re.M)
        for package in re.findall(r'"([^"]+)"', needed):
            assert f'"{package}"' in made, package
    assert made.startswith("FROM sear\n") and made.rstrip().endswith("USER 1000")
    project = re.search(r"^WORKDIR (\S+)", page_text(ROOT / "Dockerfile"), re.M)[1]
    for service in ("worker", "service"):
        mounted = [volume.split(":") for volume in compose["services"][service]["volumes"]]
        assert all(inside.startswith(f"{project}/") for _, inside in mounted)
        assert all((CLUSTER / outside).resolve().parent == ROOT for outside, _ in mounted)
