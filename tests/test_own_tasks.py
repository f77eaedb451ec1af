"""A task is a value: the paper's by several names, any Gymnasium id, a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_helpers import call

from gailbench.plumbing.errors import GailbenchError
from gailbench.runs.execute import make_learner
from gailbench.runs.grid import Request, plan
from gailbench.simulation import dimensions
from gailbench.tasks import TASKS, find_task

FILE = """
environment = "Pendulum-v1"
horizon = 50
sizes = [1, 2]
keep_every = 2
reward_sign = "negative"
batch = 300
iterations = 3
bc_steps = 20
algorithms = ["bc", "gail"]

[kwargs]
g = 5.0

[settings.gail]
learning_rate = 0.003
hidden = [16, 16]

[expert]
iterations = 2
"""


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("name", "task"),
    [("hopper", "hopper"), ("Hopper-v5", "hopper"), ("HalfCheetah", "halfcheetah"), ("walker2d-v5", "walker")],
)
def test_the_papers_tasks_have_their_gymnasium_names_too(name: str, task: str) -> None:
    assert find_task(name) is TASKS[task]


def test_any_gymnasium_id_is_a_task_with_its_own_time_limit() -> None:
    task = find_task("Pendulum-v1")
    assert (task.name, task.horizon, task.keep_every, task.sizes) == ("Pendulum-v1", 200, 4, (4, 11, 18, 25))
    assert dimensions(task) == (3, 1, False)


def test_a_file_sets_everything(tmp_path: Path) -> None:
    task = find_task(write(tmp_path / "heavy.toml", FILE))
    assert (task.name, task.horizon, task.sizes, task.batch) == ("heavy", 50, (1, 2), 300)
    assert task.kwargs == (("g", 5.0),)
    assert task.settings == (("gail.hidden", (16, 16)), ("gail.learning_rate", 0.003))
    assert task.expert == (("iterations", 2),)
    assert hash(task) == hash(find_task(str(tmp_path / "heavy.toml")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("horizont = 50", "no 'horizont'; did you mean 'horizon'"),
        ('horizon = "50"', "horizon is '50'; it must be a positive integer"),
        ("horizon = true", "horizon is True; it must be a positive integer"),
        (f"batch = {10**26}", "it must be a positive integer below 2^31"),
        (f"sizes = [{10**26}]", "it must be a list of positive integers below 2^31"),
        ('reward_sign = "up"', 'must be "positive" or "negative"'),
        ("sizes = []", "must be a list of positive integers"),
        ("entropy_weights = [true]", "entropy_weights is [True]; it must be a list of numbers from 0"),
        ("demonstrations = 1", "'task' has the size 25 and only 1 demonstration; give smaller sizes"),
        ('name = "hopper"', "name of one of the paper's tasks"),
        ('name = "a/b"', "cannot be the name of a task"),
        ("horizon = ", "is not a TOML file"),
    ],
)
def test_what_no_task_has_is_named(change: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "task.toml", f'environment = "Pendulum-v1"\n{change}\n')
    with pytest.raises(GailbenchError) as caught:
        find_task(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    refused = call("tasks", "check", path)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Pendulm-v1", "did you mean 'Pendulum-v1'"),
        ("hoper", "did you mean 'hopper'"),
        ("none.toml", "no task file at none.toml"),
        ("no_such_module:Thing-v0", "cannot import the module"),
    ],
)
def test_an_unknown_task_is_named_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(GailbenchError) as caught:
        find_task(name)
    assert said in str(caught.value)


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(GailbenchError, match="environment is missing"):
        find_task(write(tmp_path / "task.toml", "horizon = 3\n"))


@pytest.mark.parametrize("value", ["{ a = 1 }", "[{ a = 1 }]", "1979-05-27", "nan", "[inf]"])
@pytest.mark.parametrize("table", ["kwargs", "expert"])
def test_a_value_that_no_task_can_keep_is_named(table: str, value: str, tmp_path: Path) -> None:
    path = write(tmp_path / "task.toml", f'environment = "CartPole-v1"\n[{table}]\nbatch = {value}\n')
    with pytest.raises(GailbenchError, match=rf"{table}\.batch is .* must be a finite number"):
        find_task(path)


def test_an_environment_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "task.toml", 'environment = "CartPole-v1"\nhorizon = 20\n[kwargs]\nrender_mode = 5\n')
    checked = call("tasks", "check", path)
    assert (checked.code, checked.err.count("\n")) == (1, 1)
    assert "cannot make 'CartPole-v1'" in checked.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('algorithms = ["gial"]', "unknown algorithm 'gial'; did you mean"),
        ("[settings.gail]\nlearning_rate = -1", "gail.learning_rate is -1.0; it must be above 0"),
        ("[settings.gail]\nlearning = 1", "unknown setting 'gail.learning' of gail"),
        ("[settings.gial]\nlearning_rate = 1", "unknown setting 'gial.learning_rate'"),
        ("[expert]\nbatches = 1", "[expert] of 'task' has 'batches'"),
        (f"[expert]\nbatch = {10**26}", "it must be at least 1 and at most 2.1"),
        (f"[expert]\nhorizon = {10**26}", "it must be at least 1 and at most 2.1"),
    ],
)
def test_a_check_refuses_what_later_commands_refuse(table: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "task.toml", f'environment = "Pendulum-v1"\n{table}\n')
    checked = call("tasks", "check", path)
    assert (checked.code, checked.out, checked.err.count("\n")) == (1, "", 1)
    assert said in checked.err


def test_a_check_builds_the_task_and_says_how_fast_it_is(tmp_path: Path) -> None:
    checked = call("tasks", "check", write(tmp_path / "heavy.toml", FILE))
    assert checked.code == 0, checked.err
    assert "heavy: works" in checked.out
    assert "steps/s" in checked.out


def test_a_setting_of_a_file_has_the_type_of_its_field(tmp_path: Path) -> None:
    task = find_task(write(tmp_path / "heavy.toml", FILE + "\n[settings.loop]\nhidden = 16\n"))
    (job,) = plan(task, Request(tmp_path / "results", algorithms=["constant"]))
    assert make_learner(job.spec, None).policy.hidden == (16,)


def test_an_expert_of_the_task_before_its_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = FILE.replace("Pendulum-v1", "CartPole-v1").replace("[kwargs]\ng = 5.0\n", "")
    path = write(tmp_path / "heavy.toml", text)
    train = ("expert", "train", "--task", path)
    run = ("run", "--task", path, "--sizes", 1, "--algorithms", "bc", "--jobs", 1, "--seeds")
    assert call(*train).code == 0
    assert call(*run, 0).code == 0
    write(tmp_path / "heavy.toml", text.replace("horizon = 50", "horizon = 20"))
    for refused in (call(*run, 1), call("demos", "sample", "--task", path)):
        assert (refused.code, len(refused.err.splitlines())) == (1, 1)
        assert "was trained on 'heavy' with horizon 50, which is now 20" in refused.err
    assert "is the expert of another task" in call(*train).err
    assert call(*train, "--overwrite").code == 0


def test_an_edited_file_never_matches_old_results(tmp_path: Path) -> None:
    """The spec of a run holds the task's definition, so that another one is another spec."""
    request = Request(tmp_path / "results", algorithms=["constant"])
    before, after = (
        plan(find_task(write(tmp_path / "heavy.toml", text)), request)[0].spec
        for text in (FILE, FILE.replace("horizon = 50", "horizon = 60"))
    )
    assert before.folder(tmp_path) == after.folder(tmp_path)
    assert before.as_json() != after.as_json()
    assert before.as_json()["definition"]["horizon"] == 50
    paper = plan(TASKS["hopper"], request)[0].spec
    assert "definition" not in paper.as_json()


def test_two_tasks_of_one_name_in_one_command_are_refused(tmp_path: Path) -> None:
    for folder, horizon in (("a", 50), ("b", 60)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "heavy.toml", FILE.replace("horizon = 50", f"horizon = {horizon}"))
    both = f"{tmp_path / 'a' / 'heavy.toml'},{tmp_path / 'b' / 'heavy.toml'}"
    refused = call("demos", "sample", "--task", both)
    assert refused.code == 2
    assert "two different tasks have the name 'heavy'" in refused.err


def test_train_sample_run_resume_on_an_own_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "heavy.toml", FILE)
    unknown = call("run", "--task", path)
    assert unknown.code == 1
    assert "gailbench expert train --task TASK --out results/experts/heavy.safetensors" in unknown.err
    trained = call("expert", "train", "--task", path)
    assert trained.code == 0, trained.err
    assert (tmp_path / "results" / "experts" / "heavy.safetensors").exists()
    assert "random " in trained.out
    run = call("run", "--task", path, "--jobs", 1)
    assert run.code == 0, run.err
    folder = tmp_path / "results" / "runs" / "task=heavy" / "algorithm=gail" / "settings=defaults"
    assert len(list(folder.rglob("evaluation.csv"))) == 2
    again = call("run", "--task", path)
    assert (again.code, again.err.startswith("4 runs: 4 complete")) == (0, True)
    edited = write(tmp_path / "heavy.toml", FILE.replace("sizes = [1, 2]", "sizes = [1, 5]"))
    refused = call("run", "--task", edited)
    assert refused.code == 1
    assert "heavy.npz holds 2 trajectories, but the task's demonstrations are now 5" in refused.err
    edited = write(tmp_path / "heavy.toml", FILE.replace("batch = 300", "batch = 301"))
    refused = call("run", "--task", edited)
    assert (refused.code, "another definition" in refused.err) == (1, True)
    edited = write(tmp_path / "heavy.toml", FILE.replace("g = 5.0", "g = 6.0"))
    refused = call("run", "--task", edited)
    assert (refused.code, "was trained on 'heavy' with kwargs" in refused.err) == (1, True)
