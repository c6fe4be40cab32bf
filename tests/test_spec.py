"""Run specs: what may be asked for, how it is refused, and that nothing is lost on the way to the worker."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.capture import allocators, runtime
from toolkit.capture.environment import RECORDED_VARIABLES
from toolkit.errors import BAD_INPUT, HwprofError
from toolkit.settings import check, check_device, model_names, parse, resolve
from toolkit.spec import FIELDS, FRAMEWORKS, RunSpec, from_json

PROFILES = Path(__file__).parents[1] / "profiles"


def refusal(*overrides: str, profile: Path | None = None) -> str:
    """The one line that a bad input is answered with."""
    with pytest.raises(HwprofError) as caught:
        resolve(profile, overrides, profiles=PROFILES)
    assert caught.value.exit_code == BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str) -> Path:
    """A profile of these lines."""
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def fitting(item: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Values that the field may take."""
    default, choices, least = item.default, item.metadata["choices"], item.metadata["least"]
    one: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(least or 0, 10**6),
        float: st.floats(least, 1e6),
        str: st.sampled_from(choices) if choices else st.text(),
    }
    if isinstance(default, tuple):
        return st.lists(one[type(default[0])], min_size=1).map(tuple)
    return one[type(default)]


specs = st.builds(RunSpec, **{name: fitting(item) for name, item in FIELDS.items()})


@given(specs)
def test_json_loses_nothing(spec: RunSpec) -> None:
    """A spec comes back from its JSON equal, tuples and all."""
    assert from_json(spec.as_json()) == spec
    assert json.loads(spec.as_json())["epochs"] == spec.epochs


@given(specs)
def test_every_field_can_be_written_on_a_command_line(spec: RunSpec) -> None:
    """Written as text, each value parses back to itself."""
    for name, value in dataclasses.asdict(spec).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert parse(name, text) == value


@pytest.mark.parametrize("model", model_names(PROFILES))
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_profile_resolves(model: str, framework: str) -> None:
    """Each model's profile gives a spec of that model, its loop settled to the framework's own."""
    spec = resolve(None, [f"model={model}", f"framework={framework}"], profiles=PROFILES)
    assert (spec.model, spec.loop) == (model, {"torch": "custom", "tf": "fit", "jax": "custom"}[framework])


def test_overrides_win_over_the_profile() -> None:
    """A value given by hand replaces the profile's, which replaces the default."""
    plain = resolve(None, ["model=cifar_cnn"], profiles=PROFILES)
    assert (plain.batch, plain.infer_batches) == (64, (1, 8, 64))
    given_ = resolve(None, ["model=cifar_cnn", "batch=4", "infer_batches=2, 3"], profiles=PROFILES)
    assert (given_.batch, given_.infer_batches) == (4, (2, 3))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=resnet5O", "Unknown model 'resnet5O'. Did you mean 'resnet50'?"),
        ("model=ResNet50", "Unknown model 'ResNet50'. Did you mean 'resnet50'?"),
        ("framework=troch", "Unknown framework 'troch'. Did you mean 'torch'?"),
        ("bacth=8", "Unknown setting 'bacth'. Did you mean 'batch'?"),
        ("device=cud", "Unknown device 'cud'. Did you mean 'cuda'?"),
        ("zzz=1", "Unknown setting 'zzz'. `hwprof run --help` lists them all."),
        ("batch=0", "batch=0 is out of range. batch is at least 1"),
        ("batch=-3", "batch=-3 is out of range."),
        ("batch=eight", "batch='eight' is not a whole number."),
        ("batch=1.5", "batch='1.5' is not a whole number."),
        ("batch=", "batch='' is not a whole number."),
        ("learning_rate=nan", "learning_rate=nan is out of range."),
        ("learning_rate=inf", "learning_rate=inf is out of range."),
        ("learning_rate=fast", "learning_rate='fast' is not a number."),
        ("checkpoint=maybe", "checkpoint='maybe' is not true or false."),
        ("infer_batches=1,0", "infer_batches=0 is out of range."),
        ("infer_batches=1,many", "infer_batches='many' is not a whole number."),
        ("passes=time,profil", "Unknown passes 'profil'. Did you mean 'profile'?"),
        ("passes=", "passes is empty."),
        ("batch", "'batch' is no setting. Write name=value"),
        ("loop=fit", "PyTorch has no loop 'fit'. Use loop=custom, or framework=tf or jax."),
        ("steps=0", "Synthetic data has no end, so steps=0 never ends."),
    ],
)
def test_bad_input_gets_one_clear_line(override: str, said: str) -> None:
    """The line names the value and the nearest valid one, or the bound."""
    assert refusal(override).startswith(said)


@pytest.mark.parametrize("framework", ["tf", "jax"])
@pytest.mark.parametrize("setting", ["loader_workers=2", "profile_shapes=true", "max_split_size_mb=64"])
def test_what_only_pytorch_has_is_refused_elsewhere(framework: str, setting: str) -> None:
    """A setting that would do nothing is an error, which says what the framework does in its place."""
    said = refusal(f"framework={framework}", setting)
    assert said.startswith(f"{setting} does nothing in ")
    assert said.endswith(f"Leave {setting.partition('=')[0]} out, or use framework=torch.")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("framework=torch", "allocator=growth"),
            "PyTorch has no allocator policy 'growth'. Use allocator=auto or expan",
        ),
        (("framework=tf", "allocator=preallocate"), "TensorFlow has no allocator policy 'preallocate'."),
        (("framework=jax", "allocator=cuda_malloc_async"), "JAX has no allocator policy 'cuda_malloc_async'."),
        (("framework=tf", "allocator=growth", "device=cpu"), "allocator=growth does nothing on device=cpu:"),
        (("max_split_size_mb=64", "device=cpu"), "max_split_size_mb=64 does nothing on device=cpu:"),
        (("max_split_size_mb=19",), "max_split_size_mb=19 is less than PyTorch takes. Give 20 or more."),
        (("max_split_size_mb=64", "allocator=cuda_malloc_async"), "max_split_size_mb does nothing under allocator="),
        (("allocator=expandable",), "Unknown allocator 'expandable'. Did you mean 'expandable_segments'?"),
    ],
)
def test_an_allocator_policy_that_would_do_nothing_is_refused(overrides: tuple[str, ...], said: str) -> None:
    """Each framework has its own, and none has any on a CPU."""
    assert refusal(*overrides).startswith(said)


def test_a_device_that_auto_finds_to_be_a_cpu_is_refused_too() -> None:
    """What `auto` settles on is held to the same rule."""
    spec = check(RunSpec(framework="jax", allocator="growth"))
    check_device(spec, "cuda")
    with pytest.raises(HwprofError, match="allocator=growth does nothing on device=cpu"):
        check_device(spec, "cpu")


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({}, {}),
        ({"framework": "tf", "allocator": "growth"}, {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_GPU_ALLOCATOR": ""}),
        ({"framework": "tf", "allocator": "cuda_malloc_async"}, {"TF_GPU_ALLOCATOR": "cuda_malloc_async"}),
        (
            {"framework": "jax", "allocator": "growth"},
            {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_ALLOCATOR": "default"},
        ),
        (
            {"allocator": "expandable_segments", "max_split_size_mb": 64},
            dict.fromkeys(
                ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"), "expandable_segments:True,max_split_size_mb:64"
            ),
        ),
    ],
)
def test_an_allocator_policy_is_what_the_worker_s_environment_says(
    settings: dict[str, Any], variables: dict[str, str]
) -> None:
    """Each in its framework's own words; every variable is recorded; where nothing is asked for nothing is set."""
    found = allocators.variables(check(RunSpec(**settings)))
    assert found == variables
    assert set(found) <= set(RECORDED_VARIABLES)
    assert found.items() <= runtime.variables(check(RunSpec(**settings)), "cuda").items()


def test_cifar10_has_one_shape() -> None:
    """The set's images have 32 pixels and ten classes; asking for others is refused, whichever is asked."""
    assert "not 10 of 64×64" in refusal("dataset=cifar10", "image_size=64")
    assert "not 100 of 32×32" in refusal("dataset=cifar10", "classes=100")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bacth = 8", "Unknown key in"),
        ("[batch]\nsize = 8", "batch = {'size': 8} is no int"),
        ('batch = "8"', "batch = '8' is no int. Write it as int: 32."),
        ("batch = 8.0", "batch = 8.0 is no int."),
        ("batch = true", "batch = True is no int."),
        ("checkpoint = 1", "checkpoint = 1 is no bool."),
        ("learning_rate = true", "learning_rate = True is no float."),
        ("model = 50", "model = 50 is no str."),
        ("infer_batches = 8", "infer_batches = 8 is no list of int. Write it as list of int: [1, 8, 32]."),
        ('infer_batches = ["8"]', "infer_batches = ['8'] is no list of int."),
        ("passes = [1]", "passes = [1] is no list of str."),
        ("batch = ", "Cannot read the profile"),
    ],
)
def test_bad_profiles_get_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    """A TOML file with an unknown key, a wrong type or broken syntax is refused, naming the file."""
    answer = refusal(profile=written(tmp_path, text))
    assert said in answer
    assert "own.toml" in answer


def test_an_unknown_key_of_a_profile_gets_the_nearest(tmp_path: Path) -> None:
    """As a misspelt setting does."""
    assert "Did you mean 'batch'?" in refusal(profile=written(tmp_path, "bacth = 8"))


def test_a_whole_number_stands_for_a_float(tmp_path: Path) -> None:
    """`learning_rate = 1` in TOML is 1.0."""
    assert resolve(written(tmp_path, "learning_rate = 1"), [], profiles=PROFILES).learning_rate == 1.0


def test_a_missing_profile_gets_one_clear_line(tmp_path: Path) -> None:
    """A file that is not there, or is no text, is refused by name."""
    assert "nowhere.toml" in refusal(profile=tmp_path / "nowhere.toml")
    binary = tmp_path / "own.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "own.toml" in refusal(profile=binary)


def test_check_leaves_a_loop_that_was_asked_for() -> None:
    """Only `auto` is settled."""
    assert check(RunSpec(framework="tf", loop="custom")).loop == "custom"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("model=cifar_cnn", "weights=pretrained"), "There are no pretrained weights of cifar_cnn: no zoo has it."),
        (("weights_dir=/there",), "weights_dir=/there does nothing with weights=random."),
        (("trainable=head", "task=infer"), "trainable=head does nothing with task=infer, which trains nothing."),
        (("trainable=last",), "Unknown trainable 'last'."),
        (("replicas=2",), "replicas=2 does nothing without parallel."),
        (("parallel=ddp",), "parallel=ddp of one replica is none. Give replicas=2 or more"),
        (("parallel=ddp", "replicas=2", "framework=tf"), "TensorFlow has no parallel=ddp. Use parallel=mirrored, or"),
        (("parallel=mirrored", "replicas=2"), "PyTorch has no parallel=mirrored. Use parallel=data_parallel or ddp"),
        (("parallel=ddp", "replicas=2", "framework=jax"), "parallel=ddp is not built for JAX, which shards"),
        (("parallel=ddp", "replicas=2", "task=infer"), "parallel=ddp does nothing with task=infer: requests go to one"),
        (("parallel=ddp", "replicas=3"), "batch=32 is no whole number of parts for replicas=3. Give a multiple of 3"),
        (("parallel=ddp", "replicas=2", "compile=inductor"), "compile=inductor is not built for parallel=ddp."),
        (
            ("parallel=data_parallel", "replicas=2", "device=cpu"),
            "parallel=data_parallel does nothing on device=cpu: torch.nn.DataParallel copies the model to GPUs alone.",
        ),
    ],
)
def test_a_start_or_a_way_of_training_together_that_would_do_nothing_is_refused(
    overrides: tuple[str, ...], said: str
) -> None:
    """No zoo has such weights, no framework such replicas, or they would change nothing."""
    assert refusal(*overrides).startswith(said)
