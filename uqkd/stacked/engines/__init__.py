"""Engines that train stacked students: eager, compiled, one fused kernel, or one student after another."""
