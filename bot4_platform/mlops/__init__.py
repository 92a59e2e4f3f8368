"""Labels, splits, scores, gates and the registry of models. Importing a module here loads no MLflow and no LightGBM."""
