"""Certificates for tests, made by OpenSSL."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Credential:
    """A certificate and its key in PEM, each in a file and both in one."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority whose folder is trusted as grid tools trust one."""

    folder: Path
    credential: Credential

    @property
    def certificate(self) -> Path:
        return self.credential.certificate

    def issue(self, name: str) -> Credential:
        """A certificate for `localhost`, called `name` in its files."""
        extensions = ("subjectAltName=DNS:localhost,IP:127.0.0.1", "basicConstraints=critical,CA:false")
        return _make(self.folder / "issued" / name, "/CN=localhost", self.credential, *extensions)

    def issue_proxy(self, name: str) -> Path:
        """A user's X.509 proxy (RFC 3820), a file as grid tools write it: proxy, its key, the user's certificate."""
        extensions = ("basicConstraints=critical,CA:false", "keyUsage=digitalSignature")
        user = _make(self.folder / "issued" / f"{name}-user", "/CN=user", self.credential, *extensions)
        policy = ("proxyCertInfo=critical,language:id-ppl-inheritAll", "basicConstraints=critical,CA:false")
        proxy = _make(self.folder / "issued" / name, "/CN=user/CN=1234", user, *policy)
        with proxy.both.open("a") as file:
            file.write(user.certificate.read_text())
        return proxy.both


def make_authority(folder: Path) -> Authority:
    (folder / "issued").mkdir()
    made = _make(folder / "authority", "/CN=authority", None)
    openssl("rehash", folder)
    return Authority(folder, made)


def _make(path: Path, subject: str, issuer: Credential | None, *extensions: str) -> Credential:
    made = Credential(path.with_suffix(".pem"), path.with_suffix(".key"), path.with_suffix(".both"))
    signed = ["-CA", issuer.certificate, "-CAkey", issuer.key] if issuer is not None else []
    extended = [part for extension in extensions for part in ("-addext", extension)]
    files = ["-keyout", made.key, "-out", made.certificate]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *signed, *files, *extended)
    made.both.write_text(made.certificate.read_text() + made.key.read_text())
    return made


def openssl(*command: object) -> None:
    subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
