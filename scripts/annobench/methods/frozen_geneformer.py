"""A Geneformer as it is: genes ranked by expression over their median, encoded, and pooled into one vector a cell."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.cells.panel import only_measured
from annobench.core.errors import ConfigError, DataError, MethodSkipped
from annobench.core.files import expanded, sha256_of
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs, Notes
from annobench.methods.shared.geneformer_model import WEIGHTS, Encoder, read_dictionary, read_geneformer

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix
    from torch import Tensor

_PART = 2048  # cells that are ranked together
_SCALE = 1e4


class FrozenGeneformer(Method):
    """Counts per 10,000 over all genes of the cell, divided by the median of each gene, rank its genes.

    Genes are found by Ensembl id. Cells without a known gene are counted (`notes`) and all get one embedding. Three
    conventions of layer and pooling are in use, so that files of methods state both.

    Parameters
    ----------
    folder
        Folder with config.json and model.safetensors; ~ and variables such as $ANNOBENCH_DATA are expanded. A fit is
        skipped where it is missing.
    tokens, medians
        Dictionaries in it (.json, or .pkl of a plain mapping): Ensembl id -> token, and -> median expression.
    layer
        Whose output is taken, from 1 on. `emb_layer=-1` of Geneformer's own code is the second to last.
    pooling
        `mean` of the genes, without special tokens; or the output of `<cls>`.
    special_tokens
        Whether `<cls>` stands before the genes and `<eos>` behind them (second version), or neither (first version).
    max_length
        Most tokens of a cell; the genes that rank last are left out.
    least_known
        Share of the genes of the cells that must have a token; with fewer a fit is skipped.
    tokens_per_batch
        Most tokens that are encoded together.
    """

    needs = Needs(counts=True)
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, gpu=True, trains=False)
    files = ("{folder}/config.json", "{folder}/model.safetensors", "{folder}/{tokens}", "{folder}/{medians}")

    trainable_parameters = 0

    def __init__(
        self,
        *,
        folder: str,
        tokens: str,
        medians: str,
        layer: int = 11,
        pooling: Literal["mean", "cls"] = "mean",
        special_tokens: bool = True,
        max_length: int = 4096,
        least_known: float = 0.5,
        tokens_per_batch: int = 8192,
    ) -> None:
        if pooling == "cls" and not special_tokens:
            raise ConfigError("parameters.pooling is cls, but parameters.special_tokens is false: there is no <cls>")
        self.folder, self.tokens, self.medians = folder, tokens, medians
        self.layer, self.pooling, self.special_tokens = layer, pooling, special_tokens
        self.max_length, self.least_known, self.tokens_per_batch = max_length, least_known, tokens_per_batch

    def fit(self, train: "AnnData", context: Context) -> None:
        import torch

        folder = expanded(self.folder)
        for name in ("config.json", WEIGHTS, self.tokens, self.medians):
            if not (folder / name).is_file():
                raise MethodSkipped(f"parameters.folder: '{self.folder}' has no file {name}")
        torch.set_num_threads(context.threads)
        model = read_geneformer(folder)
        if not 1 <= self.layer <= model.shape.num_hidden_layers:
            raise ConfigError(f"parameters.layer is {self.layer}, and there are {model.shape.num_hidden_layers} layers")
        if self.max_length > model.shape.max_position_embeddings:
            raise ConfigError(
                f"parameters.max_length is {self.max_length:,}, and the model has "
                f"{model.shape.max_position_embeddings:,} positions"
            )
        self._token = {name: int(number) for name, number in read_dictionary(folder / self.tokens).items()}
        self._median = read_dictionary(folder / self.medians)
        needed = ["<pad>", *(["<cls>", "<eos>"] if self.special_tokens else [])]
        if absent := [name for name in needed if name not in self._token]:
            raise DataError(f"{self.tokens}: has no token {', '.join(absent)}")
        if max(self._token.values()) >= model.shape.vocab_size:
            raise DataError(
                f"{self.tokens}: has a token {max(self._token.values())}, beyond the vocabulary of the model"
            )
        self._encoder, self._device, self._empty = Encoder(model, context.device), context.device, 0
        self.notes: Notes = {
            "layer": f"{self.layer} of {model.shape.num_hidden_layers}",
            "pooling": self.pooling,
            "special_tokens": "<cls> and <eos>" if self.special_tokens else "none",
            "weights_sha256": sha256_of(folder / WEIGHTS),
            "keys_dropped": len(model.dropped),
        }

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        from scipy.sparse import csr_matrix

        cells = only_measured(query)
        ids = cells.var["feature_id"].astype(str).to_numpy()
        columns = np.flatnonzero([one in self._token and one in self._median for one in ids])
        self.gene_overlap = {"model": len(self._median), "shared": len(columns)}
        share = len(columns) / max(len(ids), 1)
        if len(columns) == 0 or share < self.least_known:
            raise MethodSkipped(
                f"{len(columns):,} of the {len(ids):,} genes of the cells have a token (by Ensembl id), {share:.1%}; "
                f"expected at least {self.least_known:.1%} (parameters.least_known)"
            )
        tokens = np.array([self._token[one] for one in ids[columns]])
        medians = np.array([self._median[one] for one in ids[columns]])
        names = cells.obs_names.to_numpy()
        for start in range(0, cells.n_obs, _PART):
            counts = csr_matrix(cells.X[start : start + _PART], dtype=np.float64)
            ranked = self.ranked(counts, columns, tokens, medians)
            self._empty += sum(len(cell) == 2 * self.special_tokens for cell in ranked)
            self.notes["cells_without_known_gene"] = self._empty
            yield Embedding(names[start : start + _PART], self._embedded(ranked))

    def ranked(
        self,
        counts: "csr_matrix",
        columns: "NDArray[np.intp]",
        tokens: "NDArray[np.int64]",
        medians: "NDArray[np.float64]",
    ) -> "list[NDArray[np.int64]]":
        """Tokens of every cell, highest rank first; genes of equal rank in the order of the cells' genes."""
        total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        known = counts[:, columns].tocsr()
        known.sort_indices()
        most = self.max_length - 2 * self.special_tokens
        found = []
        for cell in range(known.shape[0]):
            place = slice(known.indptr[cell], known.indptr[cell + 1])
            genes = known.indices[place][known.data[place] > 0]
            values = known.data[place][known.data[place] > 0] / total[cell] * _SCALE / medians[genes]
            own = tokens[genes[np.argsort(-values, kind="stable")][:most]]
            if self.special_tokens:
                own = np.concatenate([[self._token["<cls>"]], own, [self._token["<eos>"]]])
            found.append(own)
        return found

    def _embedded(self, cells: "list[NDArray[np.int64]]") -> "NDArray[np.float32]":
        """(cells, width) of tokens of cells, those of like length together."""
        import torch

        found = np.empty((len(cells), self._encoder.shape.hidden_size), dtype=np.float32)
        lengths = np.array([max(len(one), 1) for one in cells])  # a cell without any token is one of padding
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            some = order[start : start + max(self.tokens_per_batch // lengths[order[start]], 1)]
            start += len(some)
            given = np.full((len(some), lengths[some[0]]), self._token["<pad>"])
            for row, cell in enumerate(some):
                given[row, : len(cells[cell])] = cells[cell]
            mask = torch.from_numpy(np.arange(given.shape[1]) < lengths[some][:, None]).to(self._device)
            with torch.inference_mode():
                outputs = self._encoder.outputs(torch.from_numpy(given).to(self._device), mask, self.layer)
                found[some] = self._pooled(outputs, mask, torch.from_numpy(lengths[some])).cpu().numpy()
        return found

    def _pooled(self, outputs: "Tensor", mask: "Tensor", lengths: "Tensor") -> "Tensor":
        """One vector a cell, (cells, width)."""
        import torch

        if self.pooling == "cls":
            return outputs[:, 0]
        genes = mask.clone()
        if self.special_tokens:
            genes[:, 0] = False
            genes[torch.arange(len(lengths)), lengths - 1] = False
        number = genes.sum(dim=1, keepdim=True).clamp(min=1)
        return (outputs * genes[..., None]).sum(dim=1) / number
