"""
Score: predictions meet the truth, matched by cell id; and every metric meets controls whose worth is known.

in   results/fits/<dataset>/<split>/<method>/seed<k>/predictions.parquet, run.json
     the roles of every split that is scored from this fit
     results/data/<dataset>/cells.h5ad or store, of a dataset with perturbations
     .../probabilities.npz and decisions.npz, where run.json says that there are
out  results/scores/<dataset>/<split>/<method>/seed<k>.parquet            one row per value
     results/scores/<dataset>/<split>/<method>/seed<k>.confusion.parquet  cells per unit, true and predicted label
     results/scores/<dataset>/<split>/<method>/seed<k>.groups.parquet     the same within groups of cells, where some are named
     results/scores/<dataset>/<split>/<method>/seed<k>.sums.parquet       what other metrics sum over the cells of units
     results/scores/<dataset>/<split>/<method>/seed<k>.confidence.parquet  confidence rules: values, replicates, curves
     results/audit/<study>/<dataset>/<evaluation>/metrics.parquet  every metric on methods and controls
     .../types.parquet, degs.parquet, spatial.parquet              marker biology by type, top genes, cells in space
     .../places.parquet                                            maps of embeddings
"""

from annobench.workflow.score import ScoreRules

SCORE = ScoreRules(STUDY)


rule score_fit:
    input:
        unpack(SCORE.measured_cells),
        predictions="results/fits/{dataset}/{split}/{method}/seed{seed}/predictions.parquet",
        run="results/fits/{dataset}/{split}/{method}/seed{seed}/run.json",
        obs="results/data/{dataset}/obs.parquet",
        roles=SCORE.scored_roles,
        train="results/train/{dataset}/{split}/seed{seed}.parquet",
        ontology=TARGETS.ontology,
    output:
        scores="results/scores/{dataset}/{split}/{method}/seed{seed}.parquet",
        confusion="results/scores/{dataset}/{split}/{method}/seed{seed}.confusion.parquet",
        groups="results/scores/{dataset}/{split}/{method}/seed{seed}.groups.parquet",
        sums="results/scores/{dataset}/{split}/{method}/seed{seed}.sums.parquet",
        confidence="results/scores/{dataset}/{split}/{method}/seed{seed}.confidence.parquet",
    log:
        "results/logs/score_fit/{dataset}/{split}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/score_fit/{dataset}/{split}/{method}/seed{seed}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=SCORE.memory_mb,
        runtime=10,
    params:
        spec=SCORE.score_spec,
        code=SCORE.code_of("score_fit"),
    script:
        "../../scripts/score_fit.py"


rule audit_evaluation:
    input:
        unpack(SCORE.audit_inputs),
        ontology=TARGETS.ontology,
    output:
        metrics=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/metrics.parquet",
        margins=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/margins.parquet",
        types=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/types.parquet",
        degs=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/degs.parquet",
        spatial=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/spatial.parquet",
        places=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/places.parquet",
        label_noise=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/label_noise.parquet",
        disputed=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/disputed.parquet",
        misplaced=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/misplaced.parquet",
        predicted=f"results/audit/{STUDY.name}/{{dataset}}/{{evaluation}}/predicted.parquet",
    log:
        f"results/logs/audit_evaluation/{STUDY.name}/{{dataset}}/{{evaluation}}.log",
    benchmark:
        f"results/benchmarks/audit_evaluation/{STUDY.name}/{{dataset}}/{{evaluation}}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=SCORE.audit_memory_mb,
        runtime=60,
    params:
        spec=SCORE.audit_spec,
        code=SCORE.code_of("audit_evaluation"),
    script:
        "../../scripts/audit_evaluation.py"
