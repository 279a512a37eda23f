"""Bundles signed by real keys and checked by the real ssh-keygen, at each place that asks for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from digitcam.core.bundle import SHIPPED, SIGNATURE, Bundle, open_bundle
from digitcam.core.errors import ConfigError, ModelError
from digitcam.core.packing import pack, put_signature, unpack
from digitcam.edge.config import ConfigFile, RunConfig, load_config
from digitcam.edge.control import Control
from digitcam.edge.doctor import parts
from digitcam.edge.parts import Parts
from digitcam.edge.runner import Runner, check
from digitcam.edge.signature import is_signed, sign, signer_of


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of ann and bob, and ann-locked with a passphrase."""
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("ann", ""), ("bob", ""), ("ann-locked", "secret")):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(folder / name)]
        subprocess.run(words, check=True)
    return folder


def public(keys: Path, name: str) -> str:
    return " ".join((keys / f"{name}.pub").read_text().split()[:2])


def listed(path: Path, *lines: str) -> Path:
    path.write_text("# who may sign\n" + "".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def anns(keys: Path, tmp_path: Path) -> Path:
    """A file of allowed signers that lists ann alone."""
    return listed(tmp_path / "allowed_signers", f"ann@example.org {public(keys, 'ann')}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "copy"))


def signed(path: Path, key: Path) -> Bundle:
    bundle = open_bundle(path)
    put_signature(bundle, sign(bundle, key))
    return open_bundle(path)


def replace_in_card(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def refusal(bundle: Bundle, signers: Path) -> str:
    with pytest.raises(ModelError) as caught:
        signer_of(bundle, signers)
    where, _, why = str(caught.value).partition(": ")
    assert where == str(bundle.path) and "\n" not in why
    return why


# Who signed


def test_signed_and_accepted_as_folder_and_as_archive(folder: Path, keys: Path, anns: Path, tmp_path: Path) -> None:
    bundle = signed(folder, keys / "ann")
    assert signer_of(bundle, anns) == "ann@example.org"
    assert is_signed(bundle)
    pack(bundle, tmp_path / "packed.digitcam")
    packed = open_bundle(tmp_path / "packed.digitcam")
    assert signer_of(packed, anns) == "ann@example.org"
    unpack(packed, tmp_path / "unpacked")
    assert signer_of(open_bundle(tmp_path / "unpacked"), anns) == "ann@example.org"


def test_an_archive_is_signed_in_place(keys: Path, anns: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.digitcam"
    pack(open_bundle("canvas"), path)
    assert not is_signed(open_bundle(path))
    assert signer_of(signed(path, keys / "ann"), anns) == "ann@example.org"
    open_bundle(path).verify()


def test_not_signed(folder: Path, anns: Path) -> None:
    bundle = open_bundle(folder)
    assert not is_signed(bundle)
    assert refusal(bundle, anns) == f"is not signed, and {anns} names who must: digitcam bundle sign"


def test_signed_by_another_key(folder: Path, keys: Path, anns: Path) -> None:
    why = f"is signed by a key that {anns} does not list: have it signed by one that is there"
    assert refusal(signed(folder, keys / "bob"), anns) == why


def test_the_card_was_changed_after_it_was_signed(folder: Path, keys: Path, anns: Path) -> None:
    bundle = signed(folder, keys / "ann")
    replace_in_card(folder, thresholds={"digit": 0.5, "accept": 0.0})
    changed = open_bundle(folder)
    why = "card.json was changed after it was signed: copy it again, or have it signed anew"
    assert refusal(changed, anns) == why
    with pytest.raises(ModelError, match="was changed after it was signed"):
        is_signed(changed)
    # What was opened before is what was signed, whatever lies there now.
    assert signer_of(bundle, anns) == "ann@example.org"
    assert bundle.card.thresholds.accept > 0


def test_a_file_was_changed_after_it_was_signed(folder: Path, keys: Path, anns: Path, tmp_path: Path) -> None:
    signed(folder, keys / "ann")
    path = folder / "model.int8.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    bundle = open_bundle(folder)
    # The signature is over the card, and the card says what the file must be.
    assert signer_of(bundle, anns) == "ann@example.org"
    with pytest.raises(ModelError, match=r"model\.int8\.onnx is damaged: SHA-256"):
        bundle.verify()
    with pytest.raises(ModelError, match="is damaged"):
        unpack(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_and_card_were_changed_together(folder: Path, keys: Path, anns: Path) -> None:
    files = dict(signed(folder, keys / "ann").card.files)
    (folder / "model.int8.onnx").unlink()
    del files["model.int8.onnx"]
    replace_in_card(folder, files=files)
    open_bundle(folder).verify()  # in itself it is right
    assert "was changed after it was signed" in refusal(open_bundle(folder), anns)


def test_the_signature_of_another_bundle(folder: Path, keys: Path, anns: Path) -> None:
    (folder / SIGNATURE).write_bytes(sign(open_bundle("digitcam-n"), keys / "ann"))
    assert "was changed after it was signed" in refusal(open_bundle(folder), anns)


# What a signature and a key are for


def test_a_signature_made_for_something_else(folder: Path, keys: Path, anns: Path) -> None:
    words = ["ssh-keygen", "-Y", "sign", "-q", "-n", "git", "-f", str(keys / "ann")]
    card = (folder / "card.json").read_bytes()
    done = subprocess.run(words, input=card, capture_output=True, check=True)
    (folder / SIGNATURE).write_bytes(done.stdout)
    why = "card.json.sig is refused: Couldn't verify signature: namespace does not match"
    assert refusal(open_bundle(folder), anns) == why


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n"])
def test_no_signature_at_all(folder: Path, anns: Path, rubbish: bytes) -> None:
    (folder / SIGNATURE).write_bytes(rubbish)
    assert refusal(open_bundle(folder), anns).startswith("card.json.sig is refused: ")


def test_a_key_that_may_not_sign_bundles(folder: Path, keys: Path, tmp_path: Path) -> None:
    bundle, key, path = signed(folder, keys / "ann"), public(keys, "ann"), tmp_path / "signers"
    listed(path, f'ann@example.org namespaces="git" {key}')
    assert f'{path}:2: key is not permitted for use in signature namespace "digitcam"' in refusal(bundle, path)
    listed(path, f'ann@example.org valid-before="20200101" {key}')
    assert f"{path}:2: key has expired" in refusal(bundle, path)
    # Signing bundles is among what it may do here.
    listed(path, f'ann@example.org namespaces="git,digitcam" {key}')
    assert signer_of(bundle, path) == "ann@example.org"


def test_one_key_under_several_names(folder: Path, keys: Path, tmp_path: Path) -> None:
    line = f"ann@example.org,works@example.org {public(keys, 'ann')}"
    others = f"bob@example.org {public(keys, 'bob')}"
    assert signer_of(signed(folder, keys / "ann"), listed(tmp_path / "s", others, line)) == "ann@example.org"


def test_a_list_without_a_usable_key_allows_nobody(folder: Path, keys: Path, tmp_path: Path) -> None:
    bundle, path = signed(folder, keys / "ann"), tmp_path / "signers"
    assert refusal(bundle, listed(path)).startswith(f"is signed by a key that {path} does not list: ")
    assert refusal(bundle, listed(path, "rubbish")) == f"is signed by a key that is not allowed: {path}:2: missing key"
    listed(path, "rubbish", f"ann@example.org {public(keys, 'ann')}")
    assert signer_of(bundle, path) == "ann@example.org"


def test_a_list_that_cannot_be_read(folder: Path, keys: Path, tmp_path: Path) -> None:
    bundle = signed(folder, keys / "ann")
    with pytest.raises(ConfigError, match="nowhere: cannot read the allowed signers: No such file"):
        signer_of(bundle, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot read the allowed signers: Is a directory"):
        signer_of(bundle, tmp_path)


# ssh-keygen itself


def test_keys_that_cannot_sign(keys: Path, tmp_path: Path) -> None:
    bundle = open_bundle("canvas")
    with pytest.raises(ConfigError, match="none: no such key: make one with ssh-keygen"):
        sign(bundle, tmp_path / "none")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(ConfigError, match="text: cannot sign with it: "):
        sign(bundle, tmp_path / "text")
    # There is a banner above the cause.
    open_to_all = Path(shutil.copy(keys / "ann", tmp_path / "open"))
    open_to_all.chmod(0o644)
    with pytest.raises(ConfigError, match=r"open: cannot sign with it: Permissions 0644 for .* are too open\.$"):
        sign(bundle, open_to_all)


def test_without_ssh_keygen(folder: Path, keys: Path, anns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = signed(folder, keys / "ann")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ConfigError, match="no ssh-keygen, which signatures need: sudo apt install openssh-client"):
        signer_of(bundle, anns)


def test_without_room_for_a_temporary_file(
    folder: Path, keys: Path, anns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = signed(folder, keys / "ann")
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "nowhere"))
    with pytest.raises(ConfigError, match="cannot write a temporary file: No such file or directory: make room"):
        signer_of(bundle, anns)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a user that the system does not know")
def test_a_user_that_the_system_does_not_know(
    folder: Path, keys: Path, anns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a service with DynamicUser= is one where systemd's part of the name service is missing.
    bundle, real = signed(folder, keys / "ann"), shutil.which("ssh-keygen")
    script = tmp_path / "bin" / "ssh-keygen"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec setpriv --reuid 61999 --clear-groups {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match="does not know the user it runs as: sudo apt install libnss-systemd"):
        signer_of(bundle, anns)


# Where a configuration asks for it


def test_the_key_of_the_configuration(folder: Path, keys: Path, anns: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'model = "{folder}"\nsigners = "{anns}"\n')
    config = load_config(file)
    assert config.signers == str(anns)
    with pytest.raises(ModelError, match="is not signed, and"):
        check(config, ConfigFile(file))
    signed(folder, keys / "bob")
    with pytest.raises(ModelError, match="does not list"):
        check(config, ConfigFile(file))
    signed(folder, keys / "ann")
    check(config, ConfigFile(file))
    replace_in_card(folder, name="other")
    with pytest.raises(ModelError, match="was changed after it was signed"):
        check(config, ConfigFile(file))
    # Without the key all that is asked for is that it is whole.
    check(RunConfig(model=str(folder)), ConfigFile())
    file.write_text("signers = ''")
    with pytest.raises(ConfigError, match="line 1: signers: "):
        load_config(file)


def test_the_file_is_read_where_systemd_hands_it_to_the_service(
    folder: Path, keys: Path, anns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(anns.parent))
    config = RunConfig(model=str(folder), signers="/etc/digitcam/allowed_signers")
    signed(folder, keys / "bob")
    with pytest.raises(ModelError, match="does not list"):
        check(config, ConfigFile())
    signed(folder, keys / "ann")
    check(config, ConfigFile())
    assert parts.engine(str(folder), "fp32.onnx", config.signers).found.endswith(", signed by ann@example.org")


def test_the_example_has_it() -> None:
    text = (Path(__file__).parents[2] / "edge" / "configs" / "meter.toml").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("# signers = ")]
    assert line.startswith('# signers = "/etc/digitcam/allowed_signers"   # ')
    assert load_config(Path(__file__).parents[2] / "edge" / "configs" / "meter.toml").signers is None


def test_at_reload_the_old_network_stays_until_the_new_one_is_signed(
    folder: Path, keys: Path, anns: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'source = "demo:"\nmodel = "{folder}"\nsigners = "{anns}"\n')
    signed(folder, keys / "ann")
    control = Control()

    def names(count: int) -> list[str]:
        return [outcome.best.model.name for frame in islice(frames, count) for outcome in runner.read(frame)]

    def last_line() -> str:
        return capfd.readouterr().err.splitlines()[-1]

    with Parts() as parts:
        runner = Runner(load_config(file), ConfigFile(file), control, parts)
        frames = runner.frames()
        assert names(2) == ["canvas", "canvas"]
        shutil.rmtree(folder)
        shutil.copytree(SHIPPED / "digitcam-n", folder)
        control.ask_reload()
        assert names(2) == ["canvas", "canvas"]
        assert last_line() == (
            f"digitcam: {folder}: is not signed, and {anns} names who must: digitcam bundle sign"
            ": the configuration stays as it was"
        )
        signed(folder, keys / "bob")
        control.ask_reload()
        assert names(2) == ["canvas", "canvas"]
        assert "does not list" in last_line()
        signed(folder, keys / "ann")
        control.ask_reload()
        # The frame that was on its way is read by the old one.
        assert names(3)[-1] == "digitcam-n"
        assert last_line() == "digitcam: the configuration was read anew"


# The command


def digitcam(*words: object, cwd: Path) -> tuple[int, Sequence[str], Sequence[str]]:
    """Return exit code, standard output's lines, and standard error's but for what LiteRT says of its own."""
    command = [sys.executable, "-m", "digitcam.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, start_new_session=True)
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    return done.returncode, done.stdout.splitlines(), said


def test_from_a_shipped_bundle_to_a_device_that_asks_who_signed(keys: Path, anns: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    assert digitcam("bundle", "pack", "canvas", cwd=here) == (0, ["canvas.digitcam"], [])
    words = ("run", "--config", here / "run.toml", "--model", "canvas.digitcam", "--check")
    (here / "run.toml").write_text(f'signers = "{anns}"')
    why = f"digitcam: canvas.digitcam: is not signed, and {anns} names who must: digitcam bundle sign"
    assert digitcam(*words, cwd=here) == (3, [], [why])
    assert digitcam("bundle", "unpack", "canvas.digitcam", "--signers", anns, cwd=here) == (3, [], [why])
    assert not (here / "canvas").exists()
    counted = "canvas.digitcam: 5 files as its card says; "
    assert digitcam("bundle", "verify", "canvas.digitcam", cwd=here) == (0, [f"{counted}not signed"], [])

    done = digitcam("bundle", "sign", "canvas.digitcam", "--key", keys / "ann", cwd=here)
    assert done == (0, ["canvas.digitcam: card.json.sig is in it"], [])
    code, out, _ = digitcam("bundle", "verify", "canvas.digitcam", "--signers", anns, cwd=here)
    assert (code, out) == (0, [f"{counted}signed by ann@example.org"])
    assert digitcam(*words, cwd=here) == (0, [], [f"{here / 'run.toml'}: ok"])
    assert digitcam("bundle", "unpack", "canvas.digitcam", "--signers", anns, cwd=here) == (0, ["canvas"], [])
    # There is no terminal to type the passphrase on.
    done = digitcam("bundle", "sign", "canvas", "--anew", "--key", keys / "ann-locked", cwd=here)
    assert done[0] == 2 and len(done[2]) == 1 and "incorrect passphrase" in done[2][0]
    assert signer_of(open_bundle(here / "canvas"), anns) == "ann@example.org"
    assert sorted(path.name for path in here.iterdir()) == ["canvas", "canvas.digitcam", "run.toml"]


def test_the_group_loads_nothing_heavy() -> None:
    code = (
        "import sys, digitcam.edge.bundle_commands\n"
        "heavy = {'cv2', 'numpy', 'msgspec', 'zipfile', 'subprocess'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_doctor_names_the_signer_and_refuses_as_a_run_does(folder: Path, keys: Path, anns: Path) -> None:
    from digitcam.edge.doctor import parts

    with pytest.raises(ModelError, match="is not signed"):
        parts.engine(str(folder), "int8.onnx", str(anns))
    signed(folder, keys / "ann")
    assert parts.engine(str(folder), "int8.onnx", str(anns)).line.endswith("signed by ann@example.org")
