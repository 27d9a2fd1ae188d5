"""Transformers over the genes of a cell (layouts of scGPT and Geneformer), and strategies that adapt them to labels."""
