"""Finetuning on the tasks of GLUE: any sequence-classification model of the transformers library."""
