"""Hold recipes of `tinyllm train`: each file in this folder is imported when a recipe is looked for."""
