"""A transformer over the genes of a cell in scGPT's layout, and the strategies that adapt it to labels."""
