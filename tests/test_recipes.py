"""Models by name: trained once, kept as plain arrays, never trusted when damaged."""

import dataclasses
import hashlib
import io
import zipfile

import jax
import numpy as np
import pytest

import robustlib
from robustlib import Mixed, Recipe, Standard, fit_or_load, recipes

TINY = Recipe("tiny", "tiny_data", Mixed(0.1), epochs=1, batch_size=32, learning_rate=1e-3)


@pytest.fixture(scope="module")
def dataset():
    full = robustlib.load_dataset("mnist_small")
    return dataclasses.replace(full, name="tiny_data", train=full.train.spread(320))


@pytest.fixture
def kept(tmp_path, monkeypatch, dataset):
    """An empty cache, and a function that returns the one file in it."""
    monkeypatch.setenv("ROBUSTLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(recipes, "load_dataset", lambda name: dataset)

    def file():
        (path,) = (tmp_path / "cache").iterdir()
        return path

    return file


@pytest.fixture
def trainings(monkeypatch):
    """A list with an entry for each training."""
    log, fit = [], recipes.fit
    monkeypatch.setattr(recipes, "fit", lambda *a, **k: log.append(1) or fit(*a, **k))
    return log


def load(recipe=TINY):
    return fit_or_load(recipe, progress=False)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.state.params, b.state.params)
    np.testing.assert_array_equal(a.losses, b.losses)
    np.testing.assert_array_equal(a.accuracies, b.accuracies)
    return (a.seconds, a.gradient_passes) == (b.seconds, b.gradient_passes)


def test_what_is_kept_is_what_training_gave(kept, trainings):
    first = load()
    assert kept().name.startswith("tiny-tiny_data-seed0-") and len(trainings) == 1
    again = load()
    assert len(trainings) == 1 and same(again, first)
    assert first.gradient_passes == again.gradient_passes == 2 * 320
    images = np.zeros((1, 28, 28, 1), np.float32)
    f, g = (robustlib.logits_fn(result.state) for result in (first, again))
    np.testing.assert_array_equal(f(images), g(images))
    assert f.func == g.func  # jitted code takes both for one model


def test_a_loaded_model_can_be_trained_on(kept, dataset):
    load()
    state = load().state
    result = robustlib.fit(
        state, dataset.train, Standard(), jax.random.key(0), epochs=1, batch_size=32, progress=False
    )
    assert result.losses[-1] < 2.3


def test_the_cache_is_the_folder_in_the_environment(kept, tmp_path, monkeypatch):
    assert recipes._cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ROBUSTLIB_CACHE")
    for name in ("HOME", "USERPROFILE"):  # the latter on Windows
        monkeypatch.setenv(name, str(tmp_path / "home"))
    assert recipes._cache_folder() == tmp_path / "home/.cache/robustlib"


def test_a_model_that_cannot_be_kept_is_returned_all_the_same(kept, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way of a folder", encoding="utf-8")
    monkeypatch.setenv("ROBUSTLIB_CACHE", str(tmp_path / "file" / "cache"))
    result = load()
    assert len(result.losses) > 0 and not result.interrupted
    said = capsys.readouterr().out
    assert said.startswith("The trained model cannot be kept (") and "the next run trains" in said


def flip_a_bit(content):
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def with_checksum(content):
    return hashlib.sha256(content).digest() + content


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return with_checksum(buffer.getvalue())


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was opened')",)


def other_file(content):
    """A zip file whose checksum is right, but which holds no arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("about.npy", "hello")
    return with_checksum(buffer.getvalue())


DAMAGE = {
    "a bit is flipped": flip_a_bit,
    "its end is missing": lambda content: content[:-100],
    "it is empty": lambda content: b"",
    "only the checksum of nothing is left": lambda content: with_checksum(b""),
    "it is a text": lambda content: with_checksum(b"hello"),
    "it is another zip file": other_file,
    "it is a pickle": lambda content: with_checksum(__import__("pickle").dumps(Bomb())),
    "an array is a pickle": lambda content: archive(about=np.array(Bomb(), dtype=object)),
    "it lacks an array": lambda content: archive(about=np.array("{}"), losses=np.zeros(3)),
    "it is about something else": lambda content: archive(
        about=np.array('{"colour": 3}'), losses=np.zeros(3), accuracies=np.zeros(3)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_trained_again(damage, kept, trainings, capsys):
    first = load()
    whole = kept().read_bytes()
    kept().write_bytes(DAMAGE[damage](whole))
    again = load()
    said = capsys.readouterr().out
    assert f"The kept model {kept()} cannot be read (" in said and "it is trained again." in said
    assert len(trainings) == 2
    same(again, first)
    load()
    assert len(trainings) == 2 and capsys.readouterr().out == ""


def test_a_file_in_the_place_of_another_is_refused(kept, trainings, capsys):
    load(dataclasses.replace(TINY, seed=1))
    other = kept()
    content = other.read_bytes()
    other.unlink()
    first = load()
    kept().write_bytes(content)
    again = load()
    same(again, first)
    assert len(trainings) == 3
    assert f"it holds {other.stem}" in capsys.readouterr().out


def test_weights_of_another_shape_are_refused(kept, trainings, capsys):
    load()
    with np.load(io.BytesIO(kept().read_bytes()[32:])) as arrays:
        arrays = dict(arrays)
    arrays["Dense_1/kernel"] = arrays["Dense_1/kernel"][:, :5]
    kept().write_bytes(archive(**arrays))
    load()
    assert len(trainings) == 2
    assert "its arrays are not those of this network" in capsys.readouterr().out


def test_the_key_is_all_that_the_weights_depend_on(dataset, monkeypatch):
    def key(recipe=TINY, data=dataset):
        return recipes._fingerprint(recipe, data)

    keys = {"as it is": key()}
    for field, value in (
        ("objective", Mixed(0.2)),
        ("epochs", 2),
        ("batch_size", 16),
        ("learning_rate", 2e-3),
        ("seed", 1),
        ("channels", (8, 16)),
        ("hidden", 24),
    ):
        keys[field] = key(dataclasses.replace(TINY, **{field: value}))
    images = dataset.train.images.copy()
    images[7, 3, 3, 0] = 0.123
    changed = dataclasses.replace(dataset.train, images=images)
    keys["images"] = key(data=dataclasses.replace(dataset, train=changed))
    labels = dataclasses.replace(dataset.train, labels=9 - dataset.train.labels)
    keys["labels"] = key(data=dataclasses.replace(dataset, train=labels))
    with jax.enable_x64(True):
        keys["precision"] = key()
    monkeypatch.setattr(recipes, "version", lambda name: "9.9")
    keys["versions"] = key()
    monkeypatch.setattr(recipes, "code_hash", lambda: "other")
    keys["code"] = key()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    keys["device"] = key()
    assert len(set(keys.values())) == len(keys), keys


def test_the_code_is_every_module_that_training_imports():
    """Found by following imports from `fitting` and `models`, as Python does."""
    import ast
    from pathlib import Path

    folder = Path(recipes.__file__).parent

    def imports(module):
        tree = ast.parse((folder / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("robustlib"):
                inside = node.module.partition(".")[2]
                yield from [inside] if inside else [alias.name for alias in node.names]

    seen, waiting = set(), ["recipes"]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports(module)
    data = {"data", "tfds_source"}  # the images themselves are part of the key
    expected = hashlib.sha256()
    for module in recipes.CODE:
        expected.update((folder / f"{module}.py").read_bytes())
    assert set(recipes.CODE) == seen - data
    assert recipes.code_hash() == expected.hexdigest()


def test_a_training_that_was_stopped_is_not_kept(kept, monkeypatch, tmp_path):
    fit = recipes.fit
    monkeypatch.setattr(
        recipes, "fit", lambda *a, **k: dataclasses.replace(fit(*a, **k), interrupted=True)
    )
    assert load().interrupted
    assert not (tmp_path / "cache").exists()


def test_a_write_that_was_stopped_leaves_no_model(kept, tmp_path, monkeypatch):
    def half(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("pathlib.Path.write_bytes", half)
        load()
    assert not list((tmp_path / "cache").iterdir())


def test_a_model_that_learned_nothing_is_not_kept(kept, tmp_path, capsys):
    result = load(dataclasses.replace(TINY, learning_rate=float("nan")))
    assert np.isnan(result.losses[-1]) and not (tmp_path / "cache").exists()
    assert "The loss is NaN or infinite" in capsys.readouterr().out


def test_a_cache_that_may_not_be_looked_into_costs_a_training(kept, monkeypatch, capsys):
    def forbidden(self):
        raise PermissionError("no entry")

    monkeypatch.setattr("pathlib.Path.exists", forbidden)
    assert len(load().losses) == 10
    assert "cannot be read (no entry); it is trained again" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 321}])
def test_a_schedule_without_a_batch_is_refused(kept, change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} must be"):
        load(dataclasses.replace(TINY, **change))


def test_recipes_by_name():
    for (name, dataset), recipe in robustlib.RECIPES.items():
        assert (recipe.name, recipe.dataset) == (name, dataset)
        assert robustlib.recipe(name, dataset, seed=3) == dataclasses.replace(recipe, seed=3)
    for name in ("standard", "FGSM-mixed 0.1", "FGSM-mixed 0.3", "PGD", "PGD long"):
        for dataset in ("mnist", "mnist_small"):
            assert robustlib.recipe(name, dataset).seed == 0
    with pytest.raises(ValueError, match=r"no recipe 'standart' .*did you mean 'standard'\?"):
        robustlib.recipe("standart", "mnist_small")
    with pytest.raises(ValueError, match=r"no recipe 'PGD' for 'cifar10'.*or call fit yourself\."):
        robustlib.recipe("PGD", "cifar10")
