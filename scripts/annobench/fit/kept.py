"""What a fit keeps beside its predictions: decision values, an embedding, predicted expression, the model."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.names import CONDITION
from annobench.core.errors import MethodSkipped
from annobench.fit.run_record import OUTPUTS

if TYPE_CHECKING:
    from anndata import AnnData

    from annobench.fit.inputs import FitCells
    from annobench.fit.job import FitJob
    from annobench.fit.method import Context, Method
    from annobench.fit.predictions import Predictions
    from annobench.fit.run_record import Note


def keep_decisions(
    job: "FitJob",
    folder: Path,
    method: "Method",
    *,
    tested: "Predictions | None",
    cells: "FitCells",
    context: "Context",
    allowed: Collection[str],
) -> bool:
    """Write the decision values of test, validation and unrelated cells; returns whether the method gives any.

    `tested` are the predictions of (a sample of) the test cells; of the validation cells a sample is taken as well. A
    method that cannot predict twice (an external command) is asked for nothing more.
    """
    from annobench.fit.decisions import write_decisions

    if not job.settings.keep.decisions or job.abilities.one_step or job.needs.truth or tested is None:
        return False
    more: dict[str, Predictions] = {}
    try:  # the test cells are predicted already: what comes after must not fail the fit
        more = _predicted_beside(job, method, cells, context, allowed)
    except Exception as error:  # noqa: BLE001
        print(f"decision values of the test cells only: {type(error).__name__}: {error}", flush=True)
    temperature = _temperature(cells, more["validation"]) if "validation" in more else None
    return write_decisions(folder / OUTPUTS["decisions"], {"test": tested, **more}, temperature)


def _temperature(cells: "FitCells", predicted: "Predictions") -> float | None:
    """What calibrates probabilities, by the validation cells; None where the method gives none."""
    from annobench.core.parquet import Categorical
    from annobench.fit.temperature import fitted_temperature

    if predicted.probabilities is None or cells.validation is None:
        return None
    labels = cells.validation.obs["label_id"].astype(str).reindex(predicted.cell_ids).to_numpy()
    return fitted_temperature(predicted.probabilities, Categorical.of(labels).recode(predicted.classes))


def _predicted_beside(
    job: "FitJob", method: "Method", cells: "FitCells", context: "Context", allowed: Collection[str]
) -> "dict[str, Predictions]":
    """Predictions of a sample of the validation cells and of unrelated cells."""
    from annobench.cells.stored_cells import some_cells
    from annobench.fit.decisions import sample
    from annobench.fit.predictions import joined, validate
    from annobench.fit.unrelated_cells import simulated_doublets, unrelated_cells

    asked: dict[str, AnnData] = {}
    if job.needs.cells == "matrix":
        path = Path(job.files.unrelated) if job.files.unrelated else None
        asked = unrelated_cells(cells.query, path, context.classes, context.ontology, context.seed)
        if job.settings.keep.doublets and (doublets := simulated_doublets(cells.train, cells.query, context.seed)):
            asked["doublets"] = doublets
    calibration = cells.calibration
    if calibration is not None and calibration.n_obs:
        asked["validation"] = some_cells(calibration, sample(calibration.n_obs, job.seed))
    if not asked:
        return {}
    # one call for all of them: some methods take longer to begin than to predict
    together = _stacked(list(asked.values()), cells.query)
    predictions = validate(joined(method.predict(together)), list(together.obs_names), allowed)
    answers, start = {}, 0
    for name, part in asked.items():
        answers[name] = predictions.rows(slice(start, start + part.n_obs))
        start += part.n_obs
    return answers


def _stacked(parts: "list[AnnData]", query: "AnnData") -> "AnnData":
    """Sets of cells with the genes of the query as one, with the columns of its obs."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    names = pd.Index([cell for part in parts for cell in part.obs_names], name=query.obs.index.name)
    obs = pd.DataFrame(
        {column: [v for part in parts for v in part.obs[column].astype(str)] for column in query.obs}, index=names
    )
    matrices = [csr_matrix(part.X) for part in parts if part.X is not None]
    stacked = AnnData(csr_matrix(vstack(matrices)) if matrices else None, obs=obs, var=query.var.copy())
    stacked.uns["annobench"] = dict(query.uns["annobench"])
    return stacked


def keep_embedding(job: "FitJob", folder: Path, method: "Method", cells: "FitCells") -> "Mapping[str, Note] | None":
    """Write the embedding of the cells of the roles that the study asks for.

    Returns what was found when it was checked, for the run record; None where there is no embedding. Raises
    PredictionError for what is none: see EmbeddingWriter.
    """
    from annobench.fit.embedding import write_embedding
    from annobench.fit.inputs import as_query

    keep = job.settings.keep
    if not (job.abilities.embedding and keep.embedding):
        return None
    by_role = {"train": cells.train, "val": cells.validation, "test": cells.query}
    asked = {role: part for role in keep.embedding_roles if (part := by_role[role]) is not None and part.n_obs}
    ids = {role: part.obs_names.to_numpy(dtype=object) for role, part in asked.items()}
    parts = (
        embedding
        for role, part in asked.items()
        for seen in ([part] if role == "test" else as_query(part, cells.query))
        for embedding in method.embed(seen)
    )
    written = write_embedding(folder / OUTPUTS["embedding"], ids, parts)
    found = written.geometry.notes()
    print("embedding: " + ", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
    return {**found, "sha256": written.sha256}


def keep_expression(job: "FitJob", folder: Path, method: "Method", query: "AnnData") -> bool:
    """Write the predicted expression of the test cells; returns whether the method predicts any.

    The method is given the observations of the test cells and the genes, but not their expression. Raises MethodSkipped
    where obs has no column `condition`.
    """
    from anndata import AnnData

    from annobench.fit.expression import write_expression

    if not job.abilities.expression:
        return False
    if CONDITION not in query.obs:
        raise MethodSkipped(f"the method predicts expression under a condition, but obs has no column '{CONDITION}'")
    bare = AnnData(obs=query.obs.copy(), var=query.var.copy())
    bare.uns["annobench"] = dict(query.uns["annobench"])
    expression = method.predict_expression(bare, query.obs[CONDITION].astype(str).tolist())
    state = str(query.uns["annobench"]["matrix"])
    write_expression(folder / OUTPUTS["expression"], expression, list(query.obs_names), query.var, state)
    return True


def keep_model(job: "FitJob", folder: Path, method: "Method", *, cells: "FitCells", context: "Context") -> float | None:
    """Save the model and what others need to use it; returns its size (MB), or None where the method keeps none."""
    from annobench.fit.saved_model import facts_of, save_facts

    if not job.settings.keep.model:
        return None
    model = folder / OUTPUTS["model"]
    model.mkdir()
    method.save(model)
    if not any(model.iterdir()):
        model.rmdir()
        return None
    decisions = folder / OUTPUTS["decisions"]
    facts = facts_of(job, cells, context, decisions if decisions.is_file() else None)
    save_facts(model, facts, cells.train.var, context.ontology)
    return round(sum(file.stat().st_size for file in model.rglob("*")) / 1e6, 3)
