"""Models of the Hub, from a stand-in for its server: what is downloaded, what is refused, and what is written there."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

import vaefast
from vaefast.api.hub import located
from vaefast.errors import ArgumentError, CheckpointError, HubError

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (pip install 'vaefast[hub]')")
constants = pytest.importorskip("huggingface_hub.constants")
COMMIT, OLD = "a" * 40, "b" * 40
SHAPE = (1, 8, 8)


class Server(ThreadingHTTPServer):
    """Answers HEAD and GET of /OWNER/NAME/resolve/REVISION/FILE, as the Hub does, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}  # (repo, commit): names and contents
        self.refs = {"main": COMMIT, "v1": OLD}
        self.asked: list[str] = []
        self.sizes: dict[str, int] = {}
        self.commit_told: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        owner, name, _, revision, *rest = self.path.strip("/").split("/")
        commit, file = self.server.refs.get(revision, revision), "/".join(rest)
        if not any(repo == f"{owner}/{name}" for repo, _ in self.server.files):
            return self.refuse(401, "RepoNotFound")
        files = self.server.files.get((f"{owner}/{name}", commit))
        if files is None or file not in files:
            return self.refuse(404, "RevisionNotFound" if files is None else "EntryNotFound")
        content = files[file]
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.sizes.get(file, len(content))))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.server.commit_told or commit)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield running
    running.shutdown()
    running.server_close()


def saved(tmp_path, model=None) -> dict[str, bytes]:
    folder = tmp_path / f"saved-{len(list(tmp_path.iterdir()))}"
    (vaefast.SecondStage(3, width=4, depth=1) if model is None else model).save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_model_is_found_by_its_name(server, tmp_path):
    model = vaefast.SecondStage(3, width=4, depth=1)
    server.files["me/codes", COMMIT] = {**saved(tmp_path, model), "README.md": b"#", "vaefast.py": b"raise SystemExit",
                                        "../../evil": b"x", "pytorch_model.bin": b"x"}
    found = vaefast.load("me/codes")
    assert found.source == f"me/codes@{COMMIT}" and not found.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), found.state_dict().values(), strict=True))
    assert {path.rpartition("/")[2] for path in server.asked} == {"model.json", "model.safetensors"}  # no code, nothing else
    assert vaefast.from_pretrained is vaefast.load and vaefast.load(tmp_path / "saved-0").source is None


def test_a_revision_may_be_named(server, tmp_path):
    server.files["me/codes", COMMIT] = saved(tmp_path)
    server.files["me/codes", OLD] = saved(tmp_path, vaefast.SecondStage(5, width=4, depth=1))
    for revision in ("v1", OLD):
        found = vaefast.load(f"me/codes@{revision}")
        assert found.latent_dim == 5 and found.source == f"me/codes@{OLD}"
    with pytest.raises(HubError, match="has no branch, tag or commit 'v2'"):
        vaefast.load("me/codes@v2")


def test_a_folder_here_always_wins(server, tmp_path):
    server.files["me/codes", COMMIT] = saved(tmp_path)
    vaefast.SecondStage(7, width=4, depth=1).save("me/codes")
    assert vaefast.load("me/codes").latent_dim == 7 and not server.asked
    (tmp_path / "me" / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model"):
        vaefast.load("me/empty")
    with pytest.raises(CheckpointError, match="does not exist"):
        vaefast.load(tmp_path / "me" / "other")  # a path, and no text
    assert not server.asked


@pytest.mark.parametrize("name", ["runs", "/runs/x", "./a/b", "a/b/c", "../a", "a/..", "a/b@", "a--b/c", "a/b@..", "a /b",
                                  "a/b\n"])
def test_what_is_no_name_of_a_model(name):
    assert located(name) is None


def test_offline_the_cache_serves(server, tmp_path, monkeypatch):
    server.files["me/codes", COMMIT] = saved(tmp_path)
    vaefast.load("me/codes")
    server.files.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert vaefast.load("me/codes").source == vaefast.load(f"me/codes@{COMMIT}").source == f"me/codes@{COMMIT}"
    with pytest.raises(HubError, match="is no folder here, and not in the Hugging Face Hub's cache"):
        vaefast.load("me/other")


def test_what_is_not_there_is_said(server, tmp_path, monkeypatch):
    server.files["me/empty", COMMIT] = {"README.md": b"#"}
    with pytest.raises(HubError, match="no model on the Hugging Face Hub that you may see"):
        vaefast.load("runs/mnist")
    with pytest.raises(HubError, match="holds no model of vaefast"):
        vaefast.load("me/empty")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"is no folder here; .*pip install 'vaefast\[hub\]'"):
        vaefast.load("me/empty")


def test_a_hub_that_cannot_be_reached_is_asked_once(server, monkeypatch, tmp_path):
    server.files["me/codes", COMMIT] = saved(tmp_path)
    vaefast.load("me/codes")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached"):
        vaefast.load("runs/mnist")
    assert vaefast.load("me/codes").source == f"me/codes@{COMMIT}" and time.monotonic() - began < 10


def with_settings(files: dict[str, bytes], **changes) -> dict[str, bytes]:
    return {**files, "model.json": json.dumps({**json.loads(files["model.json"]), **changes}).encode()}


def with_weights(files: dict[str, bytes], content: bytes) -> dict[str, bytes]:
    """Other weights, that the settings vouch for."""
    return {**with_settings(files, sha256=hashlib.sha256(content).hexdigest()), "model.safetensors": content}


def hostile(files: dict[str, bytes]) -> dict[str, tuple[dict[str, bytes], str]]:
    header = (1 << 40).to_bytes(8, "little") + b"{}"
    weights = safetensors.torch.load(files["model.safetensors"])
    return {
        "damaged": ({**files, "model.safetensors": files["model.safetensors"][:-4]}, "checksum"),
        "a pickle": (with_weights(files, pickle.dumps({"a": 1})), "is damaged"),
        "a huge header": (with_weights(files, header), "is damaged"),
        "other weights": (with_weights(files, safetensors.torch.save({"a": torch.zeros(2)})), "belongs to another model"),
        "whole numbers": (with_weights(files, safetensors.torch.save({name: t.long() for name, t in weights.items()})),
                          "has dtype int64 instead of float32"),
        "an impossible kind": (with_settings(files, config={"latent_dim": 3, "second": ["x"]}), "cannot be built"),
        "a huge number": ({**files, "model.json": b"1" * 5000}, "is damaged"),
        "no weights": ({"model.json": files["model.json"]}, "holds no model of vaefast"),
        "weights elsewhere": ({"model.json": files["model.json"], "pytorch_model.bin": b"x"}, "holds no model of vaefast"),
        "another kind": (with_settings(files, kind="exec"), "a model of kind 'exec'"),
        "a kind that is none": (with_settings(files, kind=["vae"]), "does not know"),
        "no settings": (with_settings(files, config=None), "does not know"),
        "unknown settings": (with_settings(files, config={"latent_dim": 3, "callback": "os.system"}), "cannot be built"),
        "impossible settings": (with_settings(files, config={"latent_dim": -3}), "latent_dim is -3"),
        "a list": ({**files, "model.json": b"[]"}, "checksum"),
        "no JSON": ({**files, "model.json": b"import os"}, "is damaged"),
        "a deep list": ({**files, "model.json": b"[" * 200_000}, "is damaged"),
        "code": (with_settings(files, kind="vae", config={"nets": "custom"}, networks={"from": "os:system"}), "whose code"),
    }


@pytest.mark.parametrize("what", ["damaged", "a pickle", "a huge header", "other weights", "no weights", "weights elsewhere",
                                  "another kind", "a kind that is none", "no settings", "unknown settings", "impossible settings",
                                  "a list", "no JSON", "a deep list", "code", "whole numbers", "an impossible kind",
                                  "a huge number"])
def test_hostile_repositories_are_an_error_each(server, tmp_path, what):
    server.files["me/evil", COMMIT], sentence = hostile(saved(tmp_path))[what]
    with pytest.raises(HubError, match=sentence) as error:
        vaefast.load("me/evil")
    assert "me/evil" in str(error.value) or "models--me--evil" in str(error.value)
    if what == "code":
        assert not [path for path in server.asked if "safetensors" in path]


@pytest.mark.parametrize("change", [lambda name, t: t + 5 if "class" in name else t,
                                    lambda name, t: -t if "weights" in name else t, lambda name, t: t[:0].clone()],
                         ids=["classes", "weights", "none"])
def test_a_mixture_that_is_none_is_refused(tmp_path, change):
    model = vaefast.SecondStage(3, kind="mixture", classes=2)
    model.fit(torch.randn(50, 3), condition=torch.arange(50) % 2, progress=False)
    files = saved(tmp_path, model)
    weights = safetensors.torch.load(files["model.safetensors"])
    wrong = with_weights(files, safetensors.torch.save({name: change(name, t) for name, t in weights.items()}))
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be built as .*: (the weights|Gaussians are of the classes 5)"):
        vaefast.load(tmp_path)


@pytest.mark.parametrize("path", [None, 3, b"x", ["a"]])
def test_a_path_that_is_none_is_refused(path, tmp_path):
    with pytest.raises(ArgumentError, match="path is of type"):
        vaefast.load(path)
    with pytest.raises(ArgumentError, match="model is of type"):
        vaefast.export(path, tmp_path / "out")


def test_settings_of_gigabytes_are_not_downloaded(server, tmp_path):
    server.files["me/evil", COMMIT] = saved(tmp_path)
    server.sizes["model.json"] = 1 << 33
    with pytest.raises(HubError, match="its model.json has 8,589,934,592 bytes"):
        vaefast.load("me/evil")
    assert not server.asked


def test_a_commit_is_a_digest(server, tmp_path):
    server.files["me/evil", COMMIT] = saved(tmp_path)
    server.commit_told = "../../../elsewhere"
    with pytest.raises(HubError):
        vaefast.load("me/evil")
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path.parent / "elsewhere").exists()


def test_networks_of_ones_own_are_not_mixed_with_the_hub(server, tmp_path):
    server.files["me/codes", COMMIT] = saved(tmp_path)
    for given in ({"networks": True}, {"networks": "os:system"}, {"encoder": nn.Identity()}):
        with pytest.raises(ArgumentError, match="a model of the Hub, which takes none"):
            vaefast.load("me/codes", **given)
    assert not server.asked


class Api:
    """Stands in for HfApi, whose upload is a protocol of many steps: keeps what it was asked to write."""

    made: list[tuple[str, dict]] = []
    uploaded: dict[str, bytes] = {}

    def __init__(self, **options) -> None:
        self.options = options

    def create_repo(self, repo, **options) -> None:
        self.made.append((repo, options))

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, **options):
        if repo_id.startswith("others/"):
            raise OSError("403 Forbidden: you may not write here\nand more")
        from pathlib import Path
        self.uploaded.clear()
        self.uploaded.update({p.name: p.read_bytes() for p in Path(folder_path).iterdir() if p.name in allow_patterns})
        return SimpleNamespace(oid=COMMIT)


@pytest.fixture
def api(monkeypatch):
    Api.made.clear()
    Api.uploaded.clear()
    monkeypatch.setattr(hub, "HfApi", Api)
    return Api


def front_of(card: str) -> list[str]:
    return card.split("---\n")[1].splitlines()


def test_push_a_model_and_load_what_was_pushed(api, server):
    model = vaefast.VAE(SHAPE, 4, gamma=0.5)
    assert model.push_to_hub("me/digits", private=True, license="mit") == f"me/digits@{COMMIT}"
    assert api.made == [("me/digits", {"private": True, "exist_ok": True})]
    assert set(api.uploaded) == {"model.json", "model.safetensors", "README.md"}
    card = api.uploaded["README.md"].decode()
    assert front_of(card) == ["library_name: vaefast", "license: mit", "pipeline_tag: unconditional-image-generation", "tags:",
                              "- vaefast", "- vae"]
    assert "import vaefast\n\nmodel = vaefast.load('me/digits')\n" in card and "| gamma | `0.5` |" in card
    server.files["me/digits", COMMIT] = dict(api.uploaded)
    again = vaefast.load("me/digits")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_push_a_run_with_its_scores_and_pictures(api, tmp_path):
    run = tmp_path / "run"
    model = vaefast.VAE(SHAPE, 4, gamma=0.5)
    model.fit(torch.rand(16, *SHAPE), steps=1, batch_size=8, device="cpu", progress=False, out=run)
    (run / "samples_stage1.png").write_bytes(b"png")
    (run / "secret.txt").write_text("x")
    (run / "evaluation.json").write_text(json.dumps({"samples": 100, "real": 50, "fd_classifier/stage1": 12.345}))
    assert vaefast.push_to_hub(run, "me/digits") == f"me/digits@{COMMIT}"
    assert set(api.uploaded) == {"model.json", "model.safetensors", "README.md", "samples_stage1.png"}
    card = api.uploaded["README.md"].decode()
    assert "![samples](samples_stage1.png)" in card and "12.3" in card
    assert "| count | `16` |" in card and "| steps | `1` |" in card
    assert str(tmp_path) not in card and not (run / "README.md").exists()
    with pytest.raises(CheckpointError, match="holds no model"):
        vaefast.push_to_hub(tmp_path, "me/digits")


def test_what_cannot_be_pushed_is_refused(api, tmp_path, monkeypatch):
    model = vaefast.SecondStage(3, width=4, depth=1)
    for name in ("digits", "me/digits@main", "../digits", "me/digits/x"):
        with pytest.raises(ArgumentError, match="expected OWNER/NAME"):
            model.push_to_hub(name)
    with pytest.raises(ArgumentError, match="license is"):
        model.push_to_hub("me/x", license="mit\ntags: evil")
    with pytest.raises(HubError, match="could not be written: 403 Forbidden: you may not write here"):
        model.push_to_hub("others/x")
    own = vaefast.VAE(SHAPE, 2, encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
                      decoder=nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, SHAPE)))
    with pytest.raises(ArgumentError, match="whose code no folder holds"):
        own.push_to_hub("me/x")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=r"pip install 'vaefast\[hub\]'"):
        model.push_to_hub("me/x")
