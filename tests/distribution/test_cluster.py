"""TF_CONFIG and SLURM's variables, as launchers set them, and what is wrong with them in one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shufflenet_tf.distribution import cluster
from shufflenet_tf.errors import UserError


def config(jobs, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


def test_workers_of_tf_config():
    found = cluster.from_environment(config({"worker": ["a:1", "b:2"]}, index=1))
    assert found == cluster.Cluster(("a:1", "b:2"), 1)
    assert found.address == "b:2" and not found.is_chief


@pytest.mark.parametrize("kind, index, place", [("chief", 0, 0), ("worker", 0, 1), ("worker", "1", 2)])
def test_the_chief_of_a_tfjob_is_the_first_worker(kind, index, place):
    jobs = {"chief": ["c:1"], "worker": {"0": "w:1", "1": "w:2"}, "evaluator": ["e:1"]}
    found = cluster.from_environment(config(jobs, kind, index))
    assert found == cluster.Cluster(("c:1", "w:1", "w:2"), place)


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=6, unique=True), st.data())
def test_its_own_tf_config_says_the_same(ports, data):
    workers = tuple(f"[::1]:{port}" for port in ports)
    one = cluster.Cluster(workers, data.draw(st.integers(0, len(ports) - 1)))
    assert cluster.from_environment({"TF_CONFIG": one.tf_config()}) == one


@pytest.mark.parametrize(
    "variables, sentence",
    [
        ({}, "needs TF_CONFIG"),
        ({"TF_CONFIG": "{worker"}, "is not JSON"),
        ({"TF_CONFIG": "[" * 100_000}, "is not JSON"),
        ({"TF_CONFIG": "[]"}, "lacks a cluster or a task"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "lacks a cluster or a task"),
        (config({"worker": ["a:1"], "ps": ["p:1"]}), "parameter servers"),
        (config({"worker": ["a:1"]}, "evaluator"), "'evaluator', but the cluster has these jobs: worker"),
        (config({"worker": ["a:1", "b:1"]}, index=2), "has 2 of them: give an index from 0 to 1"),
        (config({"worker": ["a:1", "b:1"]}, index=-1), "give an index from 0 to 1"),
        (config({"worker": ["a:1", "b:1"]}, index=None), "give an index from 0 to 1"),
        (config({"worker": ["a:1", "a:1"]}), "names a:1 twice"),
        (config({"chief": ["a:1"], "worker": ["a:1"]}), "names a:1 twice"),
        (config({"worker": ["a"]}), "give host:port"),
        (config({"worker": ["a:65536"]}), "give host:port"),
        (config({"worker": [7]}), "give host:port"),
    ],
)
def test_what_is_wrong_is_one_sentence(variables, sentence):
    with pytest.raises(UserError) as caught:
        cluster.from_environment(variables)
    assert "\n" not in str(caught.value)
    assert sentence in str(caught.value)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_is_a_cluster_or_a_sentence(value):
    for content in (value, {"cluster": value, "task": value}, {"cluster": {"worker": value}, "task": {"type": "worker"}}):
        try:
            found = cluster.from_environment({"TF_CONFIG": json.dumps(content)})
        except UserError:
            continue
        assert found.address in found.workers


def slurm(nodes, tasks, rank, job="0"):
    return {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_PROCID": str(rank),
        "SLURM_JOB_ID": job,
    }


@pytest.mark.parametrize(
    "nodes, tasks, hosts",
    [
        ("n1", "1", ["n1"]),
        ("n[9-11]", "1(x3)", ["n9", "n10", "n11"]),
        ("n[08-10,12],login", "1(x5)", ["n08", "n09", "n10", "n12", "login"]),
        ("rack[1-2]n[1-2]", "1(x4)", ["rack1n1", "rack1n2", "rack2n1", "rack2n2"]),
        ("a,b", "2,1", ["a", "a", "b"]),
    ],
)
def test_slurm_numbers_processes_in_the_order_of_its_list(nodes, tasks, hosts):
    for rank in range(len(hosts)):
        found = cluster.from_environment(slurm(nodes, tasks, rank))
        assert [address.partition(":")[0] for address in found.workers] == hosts
        assert found.index == rank
    assert len(set(found.workers)) == len(hosts)


def test_jobs_of_slurm_that_share_a_machine_have_ports_of_their_own():
    first, second = (cluster.from_environment(slurm("n1", "8", 0, job)).workers for job in ("411", "412"))
    assert not {*first} & {*second}


@pytest.mark.parametrize(
    "variables", [slurm("n[1-2]", "1", 0), slurm("n1", "1", 1), slurm("n[a-b]", "1(x2)", 0), slurm("n1", "x", 0)]
)
def test_contradictory_variables_of_slurm_are_one_sentence(variables):
    with pytest.raises(UserError, match="set TF_CONFIG"):
        cluster.from_environment(variables)
