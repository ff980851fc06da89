"""Components of variance where responses are missing: prompt by prompt without bias, and of all data by REML."""
