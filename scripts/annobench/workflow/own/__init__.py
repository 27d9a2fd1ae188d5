"""Commands on files of one's own, before there is a study: what there is, labels, models, datasets, methods."""
