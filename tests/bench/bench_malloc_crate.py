"""The Rust crate emma as an archive that serves the two functions of malloc/sized.c."""
import os
import shutil
import subprocess
from pathlib import Path

from bench_lib import BenchError

ARCHIVE = "libemma_mix.a"
FETCH_SECONDS, BUILD_SECONDS = 120, 600
# The crate's feature "tls" uses what Rust calls unstable; this lets any compiler take it.
ENVIRONMENT = {"RUSTC_BOOTSTRAP": "1"}


def cargo(arguments, folder, seconds):
    """None, or why it failed."""
    try:
        done = subprocess.run(["cargo", *arguments, "--quiet"], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, **ENVIRONMENT}, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"cargo {arguments[0]} took more than {seconds} s"
    lines = done.stderr.strip().splitlines() or ["no message"]
    return None if done.returncode == 0 else f"cargo {arguments[0]}: {lines[0]}"


def locked_version(folder):
    lines = (folder / "Cargo.lock").read_text().splitlines()
    at = lines.index('name = "emma"')
    return lines[at + 1].partition('"')[2].rstrip('"')


def build_crate(wanted, template, folder):
    """`wanted`: "auto", or a source tree of the crate, which then must do. Returns the archive and its version, or None
    and why there is none. `template` is copied to `folder`, as cargo writes beside the manifest."""
    own_tree = wanted != "auto"
    if shutil.which("cargo") is None:
        return give_up("there is no cargo", own_tree)
    for name in ("Cargo.lock", "Cargo.toml", "src"):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink(missing_ok=True)
    shutil.copytree(template, folder, dirs_exist_ok=True)
    if own_tree:
        manifest = folder / "Cargo.toml"
        lines = [f'emma = {{ path = "{Path(wanted).resolve()}", features = ["tls"] }}' if line.startswith("emma =") else line
                 for line in manifest.read_text().splitlines()]
        manifest.write_text("\n".join(lines) + "\n")
    failed = cargo(["fetch"], folder, FETCH_SECONDS) or cargo(["build", "--release"], folder, BUILD_SECONDS)
    if failed:
        return give_up(failed, own_tree)
    return folder / "target" / "release" / ARCHIVE, locked_version(folder)


def give_up(why, was_asked_for):
    if was_asked_for:
        raise BenchError(f"--rust-crate: {why}")
    return None, why
