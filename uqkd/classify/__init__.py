"""Classifier distillation: calibrated uncertainty distillation and mixup; the verbs of the other layers."""
